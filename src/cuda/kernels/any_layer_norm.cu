// A block takes a row: s is read into registers once (kHeld values a thread; wider rows read it again from memory), summed for the mean,
// then for the variance. Per element one read of each operand and one write: bound by memory.
#include "cuda/kernels/any_layer_norm.h"

#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/reduce_block.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 128, kHeld = 8;

__device__ inline float block_sum(float value) {
  return reduce_block<kThreads>(value, [](float a, float b) { return a + b; });
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
    const auto result = [&](int64_t i, float value) { return fmaf((value - mean) * scale, p.gamma[i], p.beta[i]); };
    float inverse = 0;
    if (p.quantized.scales) {
      uint32_t largest = 0;
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        if (threadIdx.x + k * kThreads < p.width) largest = max(largest, magnitude(result(threadIdx.x + k * kThreads, held[k])));
      }
      for (int64_t i = threadIdx.x + kHeld * kThreads; i < p.width; i += kThreads)
        largest = max(largest, magnitude(result(i, element<T>(p, row, i))));
      largest = reduce_block<kThreads>(largest, larger_magnitude);
      inverse = eight_bit_inverse(p.quantized, largest);
      if (threadIdx.x == 0) p.quantized.scales[row] = eight_bit_scale(p.quantized, largest);
    }
    const auto write = [&](int64_t i, float value) {
      const float own[] = {result(i, value)};
      if (p.y) store(y + i, own[0]);
      bad |= !isfinite(p.y ? load(y + i) : own[0]);
      if (p.quantized.values) store_eight_bits(p.quantized, row, p.width, i, own, inverse);
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
  if (p.parts > 1) return cudaErrorInvalidValue;
  return with_element(p.element, [&](auto type) {
    any_layer_norm<decltype(type)><<<blocks_for(p.rows, 1), kThreads, 0, stream>>>(p);
    return cudaGetLastError();
  });
}

}  // namespace bertie::cuda
