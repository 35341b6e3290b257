# libbertie.so made of every folder's library, and what `make install` puts in place: the library, the public headers,
# the program, a CMake package (find_package(bertie) -> bertie::bertie) and a pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(libraries GLOBAL PROPERTY BERTIE_LIBRARIES)
get_property(compiled GLOBAL PROPERTY BERTIE_COMPILED_LIBRARIES)
list(TRANSFORM compiled REPLACE "(.+)" "$<TARGET_FILE:\\1>" OUTPUT_VARIABLE archives)

# The whole of each archive goes in, since callers outside need symbols that nothing inside refers to.
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/libbertie.cc CONTENT "// libbertie.so is linked from the folders' archives.\n")
add_library(libbertie SHARED ${PROJECT_BINARY_DIR}/libbertie.cc)
add_library(bertie::bertie ALIAS libbertie)
target_link_libraries(libbertie PRIVATE -Wl,--whole-archive ${archives} -Wl,--no-whole-archive ${libraries})
target_link_options(libbertie PRIVATE -Wl,--no-undefined -Wl,--as-needed)
set_target_properties(libbertie PROPERTIES
  OUTPUT_NAME bertie EXPORT_NAME bertie LINK_DEPENDS "${archives}"
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
add_dependencies(libbertie ${compiled})
target_include_directories(libbertie INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_compile_features(libbertie INTERFACE cxx_std_20)

install(TARGETS libbertie EXPORT bertie LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/bertie DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(TARGET bertie)
  install(TARGETS bertie RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/bertie)
install(EXPORT bertie NAMESPACE bertie:: FILE bertie-targets.cmake DESTINATION ${package_dir})
configure_package_config_file(cmake/bertie-config.cmake.in ${PROJECT_BINARY_DIR}/bertie-config.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/bertie-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/bertie-config.cmake ${PROJECT_BINARY_DIR}/bertie-config-version.cmake
  DESTINATION ${package_dir})

file(RELATIVE_PATH pc_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/bertie.pc.in ${PROJECT_BINARY_DIR}/bertie.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/bertie.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
