// A block takes a row, eight neighbours a thread and turn where the width allows it. A row is read twice where its scale is its own: the
// second time from the cache.
#include "cuda/kernels/quantize_rows.h"

#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/reduce_block.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 128;

template <typename T, int kWidth>
__global__ void __launch_bounds__(kThreads) quantize_rows(QuantizeRowsParams p) {
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* x = static_cast<const T*>(p.x) + row * p.width;
    float inverse = 0;
    if (p.quantized.scales) {
      uint32_t largest = 0;
      for (int64_t i = threadIdx.x * kWidth; i < p.width; i += kThreads * kWidth) {
        float values[kWidth];
        load_neighbours(x + i, values);
#pragma unroll
        for (int k = 0; k < kWidth; ++k) largest = max(largest, magnitude(values[k]));
      }
      largest = reduce_block<kThreads>(largest, larger_magnitude);
      inverse = eight_bit_inverse(p.quantized, largest);
      if (threadIdx.x == 0) p.quantized.scales[row] = eight_bit_scale(p.quantized, largest);
    }
    for (int64_t i = threadIdx.x * kWidth; i < p.width; i += kThreads * kWidth) {
      float values[kWidth];
      load_neighbours(x + i, values);
      store_eight_bits(p.quantized, row, p.width, i, values, inverse);
    }
  }
}

}  // namespace

cudaError_t launch_quantize_rows(const QuantizeRowsParams& p, cudaStream_t stream) {
  return with_element(p.element, [&](auto element) {
    using T = decltype(element);
    const unsigned blocks = blocks_for(p.rows, 1);
    if (p.width % 8 == 0)
      quantize_rows<T, 8><<<blocks, kThreads, 0, stream>>>(p);
    else
      quantize_rows<T, 1><<<blocks, kThreads, 0, stream>>>(p);
    return cudaGetLastError();
  });
}

}  // namespace bertie::cuda
