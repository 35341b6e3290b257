// wgmma_linear: y = activation(x weight^T + bias) on Hopper (9.0a): operands by the bulk tensor copy engine, products by warpgroups. x and
// weight are of 16 bits, with sums in float32, or of 8 bits with scales: y = activation(fma(sum, x_scale * weight_scale, bias)), the sums exact.
#pragma once

#include "cuda/kernels/activation.h"
#include "cuda/kernels/launch.h"

namespace bertie::cuda {

struct WgmmaLinearParams {
  const void* x;              // [rows, depth]
  const void* weight;         // [columns, depth]
  const float* bias;          // [columns]; nullptr: none
  void* y;                    // [rows, columns]; all are 16-byte aligned
  Element operand;            // of x and weight: f16, bf16 or i8
  Element element;            // of y: the operands' where they have 16 bits, else any but i8
  Activation activation;      // none or gelu
  const float* x_scale;       // of i8 operands: [rows], or one for all; nullptr otherwise
  int32_t x_scales;           // whether there is one a row
  const float* weight_scale;  // [columns]
  int64_t rows, columns, depth;
  const int32_t* live_rows;  // of `rows`; nullptr: all
  int32_t* overflow;         // gets min(*overflow, step) where a live y of f16 is not finite; nullptr: not looked for
  int32_t step;
  int32_t tile_columns;  // of a block's tile: 32, 64, 128, 192 or 256; 0: what the sizes suggest
};

constexpr int kWgmmaLinearPieceBytes = 128;  // of a row, sent for at a time

inline bool wgmma_linear_takes(Element operand, int64_t columns, int64_t depth) {
  if (operand == Element::f32 || columns < 1 || columns % 8 != 0) return false;
  const int64_t bytes = operand == Element::i8 ? depth : depth * 2;
  // Every tile has enough pieces for what runs beside them, the smallest one at least.
  return bytes % 16 == 0 && bytes > (operand == Element::i8 ? 2 : 5) * kWgmmaLinearPieceBytes;
}

// The device must be of compute capability 9.0.
cudaError_t launch_wgmma_linear(const WgmmaLinearParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
