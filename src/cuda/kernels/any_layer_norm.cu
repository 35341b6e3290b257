// A block takes a row: s is read into registers once (kHeld values a thread; wider rows read it again from memory), summed for the mean,
// then for the variance. Per element one read of each operand and one write: bound by memory.
#include "cuda/kernels/any_layer_norm.h"

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 128, kHeld = 8;

__device__ inline float block_sum(float value) {
  __shared__ float sums[kThreads / 32];
  value = warp_sum(value);
  __syncthreads();  // the sums of the call before have been read
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  float total = 0;
  for (int warp = 0; warp < kThreads / 32; ++warp) total += sums[warp];
  return total;
}

template <typename T>
__device__ inline float element(const AnyLayerNormParams& p, int64_t row, int64_t i) {
  if (p.x) {
    const float value = load(static_cast<const T*>(p.x) + row * p.width + i);
    return p.residual ? value + load(static_cast<const T*>(p.residual) + row * p.width + i) : value;
  }
  float sum = 0;
#pragma unroll
  for (int table = 0; table < 3; ++table) {
    if (!p.tables[table]) continue;
    const int64_t id =
        p.wide_ids[table] ? static_cast<const int64_t*>(p.ids[table])[row] : static_cast<const int32_t*>(p.ids[table])[row];
    sum += load(static_cast<const T*>(p.tables[table]) + id * p.width + i);
  }
  return sum;
}

template <typename T>
__global__ void any_layer_norm(AnyLayerNormParams p) {
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  bool bad = false;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    float held[kHeld];
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const int64_t i = threadIdx.x + k * kThreads;
      held[k] = i < p.width ? element<T>(p, row, i) : 0.0f;
      sum += held[k];
    }
    for (int64_t i = threadIdx.x + kHeld * kThreads; i < p.width; i += kThreads) sum += element<T>(p, row, i);
    const float mean = block_sum(sum) / static_cast<float>(p.width);
    float squares = 0;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const float difference = held[k] - mean;
      if (threadIdx.x + k * kThreads < p.width) squares += difference * difference;
    }
    for (int64_t i = threadIdx.x + kHeld * kThreads; i < p.width; i += kThreads) {
      const float difference = element<T>(p, row, i) - mean;
      squares += difference * difference;
    }
    const float variance = block_sum(squares) / static_cast<float>(p.width);
    const float scale = 1.0f / sqrtf(variance + p.epsilon);
    T* y = static_cast<T*>(p.y) + row * p.width;
    const auto write = [&](int64_t i, float value) {
      store(y + i, (value - mean) * scale * p.gamma[i] + p.beta[i]);
      bad |= !isfinite(load(y + i));
    };
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      if (threadIdx.x + k * kThreads < p.width) write(threadIdx.x + k * kThreads, held[k]);
    }
    for (int64_t i = threadIdx.x + kHeld * kThreads; i < p.width; i += kThreads) write(i, element<T>(p, row, i));
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
}

}  // namespace

cudaError_t launch_any_layer_norm(const AnyLayerNormParams& p, cudaStream_t stream) {
  return with_element(p.element, [&](auto type) {
    any_layer_norm<decltype(type)><<<blocks_for(p.rows, 1), kThreads, 0, stream>>>(p);
    return cudaGetLastError();
  });
}

}  // namespace bertie::cuda
