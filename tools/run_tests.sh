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
# Kernels compile for every architecture; tools/gpu_tests.sh runs them where there is a GPU.
if command -v nvcc >/dev/null; then
  echo "== Building the CUDA library"
  cmake --preset cuda -DBERTIE_TESTS=OFF >build/cuda.configure.log || { cat build/cuda.configure.log; exit 1; }
  cmake --build --preset cuda --target bertie_cuda_library
else
  echo "== Skipping the CUDA library: no nvcc"
fi
printf 'subdirs(%s)\n' "${presets[@]}" >build/CTestTestfile.cmake
ctest --test-dir build --output-on-failure --parallel "$(nproc)" "$@"
