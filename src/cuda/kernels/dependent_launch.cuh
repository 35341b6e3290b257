// Programmatic dependent launch (compute capability 9.0 and later): the blocks of a kernel may be put on the device while the kernel before it
// still runs, so that its launch costs nothing there. Every thread of such a kernel calls begin_dependent() before it touches memory that another
// kernel reads or writes: then all before it in the stream is complete. What it may read sooner are constants (weights, biases) and what a
// copy brought (the batch's counts and tiles): no block comes before a copy is complete. Some thread of every such grid must call it, one
// without live rows too: the next kernel waits for this grid alone.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <utility>

namespace bertie::cuda {

__device__ inline void begin_dependent() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  // The next kernel's blocks may come as soon as there is room. Sooner than here they would take it, and turns, from those that can work.
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

// Whether kernels of step `step` of a network take the last of so many rows first: where a batch is larger than the L2, those that the step
// before wrote last are still there.
__device__ inline bool is_backward(int32_t step, int64_t rows) {
  constexpr int64_t kManyRows = 8192;
  return rows > kManyRows && step % 2 != 0;
}

// Of the device in use.
inline cudaError_t count_multiprocessors(int& count) {
  int device = 0;
  const cudaError_t error = cudaGetDevice(&device);
  return error == cudaSuccess ? cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) : error;
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

// `cluster`: blocks of one, a divisor of blocks.x.
template <typename... Wanted, typename... Given>
cudaError_t launch_dependent_clusters(void (*kernel)(Wanted...), dim3 blocks, dim3 threads, unsigned cluster, size_t shared,
                                      cudaStream_t stream, Given&&... arguments) {
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = attributes;
  if (launches_dependents()) {
    attributes[config.numAttrs].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[config.numAttrs++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
    attributes[config.numAttrs++].val.clusterDim = {cluster, 1, 1};
  }
  return cudaLaunchKernelEx(&config, kernel, std::forward<Given>(arguments)...);
}

template <typename... Wanted, typename... Given>
cudaError_t launch_dependent(void (*kernel)(Wanted...), dim3 blocks, dim3 threads, size_t shared, cudaStream_t stream,
                             Given&&... arguments) {
  return launch_dependent_clusters(kernel, blocks, threads, 1, shared, stream, std::forward<Given>(arguments)...);
}

}  // namespace bertie::cuda
