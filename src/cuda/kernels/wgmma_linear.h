// wgmma_linear: y = activation(x weight^T + bias) on Hopper (9.0a): operands by the bulk tensor copy engine, products by warpgroups, sums in
// float32. Elements have 16 bits; or x and weight have eight (quant/int8.h, quant/fp8.h), and y is f16, or has eight bits of the same kind by
// fixed scales:
//
//   y = activation(f16(fma(float(sum), x_scale * w_scale, bias)))
#pragma once

#include "cuda/kernels/activation.h"
#include "cuda/kernels/quantized_rows.h"

namespace bertie::cuda {

enum class LinearOperands : int32_t { elements, int8, fp8 };

struct WgmmaLinearParams {
  const void* x;            // [rows, depth]
  const void* weight;       // [columns, depth]
  const float* bias;        // [columns]; nullptr: none
  void* y;                  // [rows, columns]
  LinearOperands operands;  // x and weight
  Element element;          // of y, and of x and weight where they are elements
  const float* x_scale;     // where x and weight have eight bits, as w_scale
  int32_t one_scale;        // x_scale is one number, else [rows]
  const float* w_scale;     // [columns]
  QuantizedRows quantized;  // of x's kind, by fixed scales alone: in the place of y. All but x_scale is 16-byte aligned
  Activation activation;    // none or gelu
  int64_t rows, columns, depth;
  const int32_t* live_rows;  // of `rows`; nullptr: all
  int32_t* overflow;         // gets min(*overflow, step) where a live y is not finite; nullptr: not looked for
  int32_t step;
  int32_t tile_columns;  // of a block's tile: 32, 64, 128, 192 or 256; 0: what the sizes suggest
};

constexpr int kWgmmaLinearLeastDepth = 384;       // of 16-bit elements: every tile has as many pieces as wait in shared memory
constexpr int kWgmmaLinearEightBitMultiple = 16;  // of columns and depth

inline bool wgmma_linear_takes(Element element, int64_t columns, int64_t depth) {
  return element != Element::f32 && columns % 8 == 0 && depth % 8 == 0 && depth >= kWgmmaLinearLeastDepth;
}

inline bool wgmma_linear_takes_eight_bits(int64_t columns, int64_t depth) {
  return columns % kWgmmaLinearEightBitMultiple == 0 && depth % kWgmmaLinearEightBitMultiple == 0 && depth > 0;
}

// The device must be of compute capability 9.0. All but x and x_scale is no other kernel's result.
cudaError_t launch_wgmma_linear(const WgmmaLinearParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
