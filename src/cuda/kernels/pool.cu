// A block takes 32 columns of one sequence: 8 warps share its rows, a lane has a column, and the warps' sums meet in shared memory.
#include "cuda/kernels/pool.h"

#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/row_mask.cuh"

namespace bertie::cuda {
namespace {

constexpr int kWarps = 8;

template <typename T>
__global__ void pool(const T* x, PoolParams p) {
  const int64_t b = blockIdx.x, column = blockIdx.y * int64_t{32} + threadIdx.x;
  if (p.live_sequences && b >= *p.live_sequences) return;
  int64_t begin = b * p.length, end = begin + p.length;
  if (p.cumulative_lengths) {
    begin = p.cumulative_lengths[b];
    end = p.cumulative_lengths[b + 1];
    if (p.queries_only && p.mode != PoolMode::cls) begin += p.queries_only[b];
  }
  const bool largest = p.mode == PoolMode::max;
  float own = largest ? -INFINITY : 0.0f;
  int rows = 0;  // that count, of this warp's
  if (column < p.width) {
    const int64_t last = p.mode == PoolMode::cls ? min(begin + 1, end) : end;
    for (int64_t row = begin + threadIdx.y; row < last; row += kWarps) {
      if (p.mode != PoolMode::cls && !counts(p.mask, row)) continue;
      ++rows;
      const float value = load(x + row * p.width + column);
      own = largest ? (value != value || value > own ? value : own) : own + value;  // NaN wins
    }
  }
  __shared__ float sums[kWarps][32];
  __shared__ int counted[kWarps][32];
  sums[threadIdx.y][threadIdx.x] = own;
  counted[threadIdx.y][threadIdx.x] = rows;
  __syncthreads();
  if (threadIdx.y > 0 || column >= p.width) return;
  for (int warp = 1; warp < kWarps; ++warp) {
    const float value = sums[warp][threadIdx.x];
    rows += counted[warp][threadIdx.x];
    own = largest ? (value != value || value > own ? value : own) : own + value;
  }
  const float length = static_cast<float>(rows);
  if (p.mode == PoolMode::mean) own = rows > 0 ? own / length : 0.0f;
  if (p.mode == PoolMode::mean_sqrt_length) own = rows > 0 ? own / sqrtf(length) : 0.0f;
  if (largest && rows == 0) own = 0.0f;
  p.y[b * p.width + column] = own;
}

}  // namespace

cudaError_t launch_pool(const PoolParams& p, cudaStream_t stream) {
  if (p.sequences == 0 || p.width == 0) return cudaSuccess;
  const dim3 blocks(static_cast<unsigned>(p.sequences), static_cast<unsigned>((p.width + 31) / 32)), threads(32, kWarps);
  return with_element(p.element, [&](auto element) {
    using T = decltype(element);
    pool<<<blocks, threads, 0, stream>>>(static_cast<const T*>(p.x), p);
    return cudaGetLastError();
  });
}

}  // namespace bertie::cuda
