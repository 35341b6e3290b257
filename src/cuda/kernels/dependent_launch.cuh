// Programmatic dependent launch (compute capability 9.0 and later): the blocks of a kernel may be put on the device while the kernel before it
// still runs, so that its launch costs nothing there. Every thread of such a kernel begins with begin_dependent(), before it touches memory
// that another kernel reads or writes: then all before it in the stream is complete.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <utility>

namespace bertie::cuda {

__device__ inline void begin_dependent() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();  // the next kernel's blocks may come as soon as there is room
  cudaGridDependencySynchronize();
#endif
}

// Whether the device in use has it.
inline bool launches_dependents() {
  static std::array<std::atomic<int>, 64> known{};  // 0: not asked
  int device = 0, major = 0;
  if (cudaGetDevice(&device) != cudaSuccess || device < 0 || device >= static_cast<int>(known.size())) return false;
  int answer = known[static_cast<size_t>(device)].load(std::memory_order_relaxed);
  if (answer == 0) {
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess) return false;
    answer = major >= 9 ? 2 : 1;
    known[static_cast<size_t>(device)].store(answer, std::memory_order_relaxed);
  }
  return answer == 2;
}

template <typename... Wanted, typename... Given>
cudaError_t launch_dependent(void (*kernel)(Wanted...), dim3 blocks, dim3 threads, size_t shared, cudaStream_t stream,
                             Given&&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = launches_dependents() ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, std::forward<Given>(arguments)...);
}

}  // namespace bertie::cuda
