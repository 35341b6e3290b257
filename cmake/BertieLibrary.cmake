# bertie_library(name DEPENDS folder... LIBRARIES external...)
#
# A source folder is a static library `bertie_<name>` made of every *.cc beside its CMakeLists.txt.
# `x_test.cc` files become one test program `<name>_test`; `x_fuzz.cc` files become one libFuzzer program each.
function(bertie_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LIBRARIES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_fuzz.cc)
  list(REMOVE_ITEM sources ${tests} ${fuzzers})

  add_library(bertie_${name} STATIC ${sources})
  target_include_directories(bertie_${name} PUBLIC
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  foreach(dependency ${ARG_DEPENDS})
    target_link_libraries(bertie_${name} PUBLIC bertie_${dependency})
  endforeach()
  target_link_libraries(bertie_${name} PUBLIC ${ARG_LIBRARIES})

  if(tests AND BERTIE_TESTS)
    bertie_test(${name}_test SOURCES ${tests} LIBRARIES bertie_${name})
  endif()
  if(BERTIE_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(stem ${fuzzer} NAME_WE)
      add_executable(${stem} ${fuzzer})
      target_link_libraries(${stem} PRIVATE bertie_${name})
      target_link_options(${stem} PRIVATE -fsanitize=fuzzer)
      set_property(GLOBAL APPEND PROPERTY BERTIE_FUZZERS ${stem})
    endforeach()
  endif()
endfunction()

# bertie_test(name SOURCES file... LIBRARIES target...): a GoogleTest program, run by ctest from the source root.
function(bertie_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
endfunction()
