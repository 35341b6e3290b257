// int8_sums: a warp an element, its lanes along the depth. eight_bit_results: a block takes a row, eight neighbours a thread and turn where the
// width allows it; results are held in registers between a row's largest magnitude and its eight bits (kHeld turns; wider rows are worked
// out again). Bound by memory: sums are meant to lie in the L2 cache, where the product has just put them.
#include "cuda/kernels/eight_bit_sums.h"

#include "cuda/kernels/activation.cuh"
#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/reduce_block.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 128, kHeld = 4;

__global__ void __launch_bounds__(kThreads) int8_sums(Int8SumsParams p) {
  const int lane = threadIdx.x % 32;
  for (int64_t i = blockIdx.x * int64_t{kThreads / 32} + threadIdx.x / 32; i < p.rows * p.width;
       i += gridDim.x * int64_t{kThreads / 32}) {
    const int8_t* x = p.x + i / p.width * p.depth;
    const int8_t* w = p.weight + i % p.width * p.depth;
    int32_t sum = 0;
    for (int64_t k = lane; k < p.depth; k += 32) sum += x[k] * w[k];
    sum = reduce_block<32>(sum, [](int32_t a, int32_t b) { return a + b; });
    if (lane == 0) p.sums[i] = sum;
  }
}

// Of sums of this type.
template <typename T, typename Sum, int kWidth>
struct Results {
  const EightBitResultsParams& p;
  bool bad = false;

  __device__ void compute(int64_t row, int64_t column, float x_scale, float (&y)[kWidth]) const {
    float w_scale[kWidth], bias[kWidth] = {}, residual[kWidth] = {};
    const auto sums = *reinterpret_cast<const Neighbours<Sum, kWidth>*>(static_cast<const Sum*>(p.sums) + row * p.width + column);
    load_neighbours(p.w_scale + column, w_scale);
    if (p.bias) load_neighbours(p.bias + column, bias);
    if (p.residual) load_neighbours(static_cast<const T*>(p.residual) + row * p.width + column, residual);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float scale = __fmul_rn(x_scale, w_scale[i]), sum = static_cast<float>(sums.values[i]);
      y[i] = apply<T>(p.activation, p.bias ? fmaf(sum, scale, bias[i]) : __fmul_rn(sum, scale));
      if (p.residual) y[i] = __fadd_rn(y[i], residual[i]);
    }
  }

  __device__ void write(int64_t row, int64_t column, const float (&y)[kWidth], float inverse) {
    if (p.y) {
      Neighbours<T, kWidth> to;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        store(&to.values[i], y[i]);
        bad |= !isfinite(load(&to.values[i]));
      }
      *reinterpret_cast<Neighbours<T, kWidth>*>(static_cast<T*>(p.y) + row * p.width + column) = to;
    } else {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) bad |= !isfinite(y[i]);
    }
    if (p.quantized.values) store_eight_bits(p.quantized, row, p.width, column, y, inverse);
  }
};

template <typename T, typename Sum, int kWidth>
__global__ void __launch_bounds__(kThreads) eight_bit_results(EightBitResultsParams p) {
  constexpr int64_t kTurn = kThreads * kWidth;
  const int64_t rows = p.live_rows ? min(p.rows, *p.live_rows - p.first_row) : p.rows;
  Results<T, Sum, kWidth> results{p};
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const float x_scale = p.x_scale[p.one_scale ? 0 : row];
    const int64_t own = threadIdx.x * kWidth;
    if (!p.quantized.scales) {
      for (int64_t column = own; column < p.width; column += kTurn) {
        float y[kWidth];
        results.compute(row, column, x_scale, y);
        results.write(row, column, y, 0);
      }
      continue;
    }
    float held[kHeld][kWidth];
    uint32_t largest = 0;
    const auto weigh = [&](const float(&y)[kWidth]) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) largest = max(largest, magnitude(y[i]));
    };
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      if (own + k * kTurn >= p.width) continue;
      results.compute(row, own + k * kTurn, x_scale, held[k]);
      weigh(held[k]);
    }
    for (int64_t column = own + kHeld * kTurn; column < p.width; column += kTurn) {
      float y[kWidth];
      results.compute(row, column, x_scale, y);
      weigh(y);
    }
    largest = reduce_block<kThreads>(largest, larger_magnitude);
    const float inverse = eight_bit_inverse(p.quantized, largest);
    if (threadIdx.x == 0) p.quantized.scales[row] = eight_bit_scale(p.quantized, largest);
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      if (own + k * kTurn < p.width) results.write(row, own + k * kTurn, held[k], inverse);
    }
    for (int64_t column = own + kHeld * kTurn; column < p.width; column += kTurn) {
      float y[kWidth];
      results.compute(row, column, x_scale, y);
      results.write(row, column, y, inverse);
    }
  }
  if (p.overflow && results.bad) atomicMin(p.overflow, p.step);
}

template <typename Sum>
cudaError_t launch_results(const EightBitResultsParams& p, cudaStream_t stream) {
  return with_element(p.element, [&](auto element) {
    using T = decltype(element);
    const unsigned blocks = blocks_for(p.rows, 1);
    if (p.width % 8 == 0)
      eight_bit_results<T, Sum, 8><<<blocks, kThreads, 0, stream>>>(p);
    else
      eight_bit_results<T, Sum, 1><<<blocks, kThreads, 0, stream>>>(p);
    return cudaGetLastError();
  });
}

}  // namespace

cudaError_t launch_int8_sums(const Int8SumsParams& p, cudaStream_t stream) {
  int8_sums<<<blocks_for(p.rows * p.width, kThreads / 32), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

cudaError_t launch_eight_bit_results(const EightBitResultsParams& p, cudaStream_t stream) {
  return p.float_sums ? launch_results<float>(p, stream) : launch_results<int32_t>(p, stream);
}

}  // namespace bertie::cuda
