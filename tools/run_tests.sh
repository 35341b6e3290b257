#!/usr/bin/env bash
# Builds the presets below and runs the tests of all of them in one ctest run, whose summary comes last.
# Arguments go to ctest (tools/run_tests.sh -R tokenizer).
set -euo pipefail
cd "$(dirname "$0")/.."
presets=(release asan tsan)
mkdir -p build
for preset in "${presets[@]}"; do
  echo "== Building preset $preset"
  log=build/$preset.configure.log
  cmake --preset "$preset" -DBERTIE_TESTS=ON >"$log" || { cat "$log"; exit 1; }
  cmake --build --preset "$preset"
done
printf 'subdirs(%s)\n' "${presets[@]}" >build/CTestTestfile.cmake
ctest --test-dir build --output-on-failure --parallel "$(nproc)" "$@"
