// One value of the values of a row's threads.
#pragma once

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {

// In each of them. kThreads threads a row, in whole warps: those of more than one warp are the whole block.
template <int kThreads, typename T, typename Join>
__device__ T reduce_block(T value, Join join) {
  static_assert(kThreads % 32 == 0);
  for (int lane = 16; lane > 0; lane /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, lane));
  if constexpr (kThreads > 32) {
    __shared__ T warps[kThreads / 32];
    __syncthreads();  // what was there before has been read
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    value = warps[0];
    for (int warp = 1; warp < kThreads / 32; ++warp) value = join(value, warps[warp]);
  }
  return value;
}

}  // namespace bertie::cuda
