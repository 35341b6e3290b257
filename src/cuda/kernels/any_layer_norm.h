// any_layer_norm: y = (s - mean) / sqrt(variance + epsilon) * gamma + beta over rows, where s is x, x + residual, or the sum of rows of up
// to three embedding tables. Any width; mean and variance are float32, the variance from the differences to the mean.
#pragma once

#include "cuda/kernels/quantized_rows.h"

namespace bertie::cuda {

constexpr int kMostLayerNormParts = 4;

struct AnyLayerNormParams {
  const void* x;          // [rows, width]; nullptr: tables. Where there are parts, [parts, rows, width], whose sum it is
  const void* residual;   // [rows, width]; nullptr: none
  const void* tables[3];  // [., width] each; nullptr: left out
  const void* ids[3];     // [rows], each within its table
  int32_t wide_ids[3];    // i64, else i32
  const float* gamma;     // [width]
  const float* beta;      // [width]
  void* y;                // [rows, width]; nullptr: in eight bits alone
  Element element;        // of x, residual, tables and y
  QuantizedRows quantized;
  int32_t parts;     // 2 to kMostLayerNormParts, of 16 bits, with a residual, by warp_layer_norm alone; 0 or 1: x is whole
  int32_t constant;  // gamma and beta: no kernel of the run writes them
  float epsilon;
  int64_t rows, width;
  const int32_t* live_rows;  // of `rows`; nullptr: all
  int32_t* overflow;         // gets min(*overflow, step) where a live result is not finite; nullptr: not looked for
  int32_t step;
};

cudaError_t launch_any_layer_norm(const AnyLayerNormParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
