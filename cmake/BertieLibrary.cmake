# bertie_library(name DEPENDS folder... LIBRARIES external... ALONE file...)
#
# A source folder is a static library `bertie_<name>` made of every *.cc beside its CMakeLists.txt (header-only where
# there is none). `x_test.cc` files become one test program `<name>_test`; `x_fuzz.cc` files become one libFuzzer
# program each.
#
# Presets that join files to compile faster (CMAKE_UNITY_BUILD) compile those of ALONE by themselves: their local names are
# a neighbour's too. Names of local functions must differ whatever their parameters: joined, one file's would hide another's.
function(bertie_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LIBRARIES;ALONE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_fuzz.cc)
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz)\\.cc$")
  list(TRANSFORM ARG_DEPENDS PREPEND bertie_)

  bertie_compile_alone(${ARG_ALONE})
  if(sources)
    add_library(bertie_${name} STATIC ${sources})
    set_property(GLOBAL APPEND PROPERTY BERTIE_COMPILED_LIBRARIES bertie_${name})
    set(scope PUBLIC)
  else()
    add_library(bertie_${name} INTERFACE)
    set(scope INTERFACE)
  endif()
  set_property(GLOBAL APPEND PROPERTY BERTIE_LIBRARIES bertie_${name})
  target_include_directories(bertie_${name} ${scope} ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(bertie_${name} ${scope} ${ARG_DEPENDS} ${ARG_LIBRARIES})

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

function(bertie_compile_alone)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# ThreadSanitizer is given only the test programs that start threads.
set(BERTIE_THREADED_TESTS base_test text_test network_test cpu_test engine_test tasks_test conformance_test)

# bertie_test(name SOURCES file... LIBRARIES target...): a GoogleTest program, run by ctest from the source root.
function(bertie_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  if(BERTIE_SANITIZE STREQUAL "thread" AND NOT name IN_LIST BERTIE_THREADED_TESTS)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  if(NOT BERTIE_CUDA)  # tests on a GPU machine are many, and its time is dear
    target_compile_options(${name} PRIVATE -O0)  # compiles in a third of the time; libraries are optimised as ever
  endif()
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gmock GTest::gtest_main)
  bertie_add_test(${name} COMMAND ${name})
endfunction()

# bertie_add_test(name COMMAND command... [TIMEOUT seconds]): any command as a ctest test, run from the source root.
function(bertie_add_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "COMMAND" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
    if(BERTIE_SANITIZE)
      set(ARG_TIMEOUT 1800)
    endif()
  endif()
  add_test(NAME ${BERTIE_TEST_PREFIX}${name} COMMAND ${ARG_COMMAND} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${BERTIE_TEST_PREFIX}${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()
