# The target `fuzzers`, and one bounded ctest run of each libFuzzer program over tests/fuzz/corpus/<program>.
set(BERTIE_FUZZ_SECONDS 15 CACHE STRING "How long ctest runs each fuzzer")
get_property(fuzzers GLOBAL PROPERTY BERTIE_FUZZERS)
add_custom_target(fuzzers DEPENDS ${fuzzers})
foreach(fuzzer ${fuzzers})
  add_test(NAME ${BERTIE_TEST_PREFIX}${fuzzer}
    COMMAND ${PROJECT_SOURCE_DIR}/tests/fuzz/run_fuzzers.sh ${BERTIE_FUZZ_SECONDS} $<TARGET_FILE:${fuzzer}>)
endforeach()
