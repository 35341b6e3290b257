// What is beside cuBLASLt's products in eight bits: eight_bit_results, what becomes of their sums (quant/int8.h, quant/fp8.h), and int8_sums,
// that product of integers in plain loops, for the shapes that matrix units do not take:
//
//   y = activation(fma(float(sum), x_scale * w_scale, bias)) + residual
#pragma once

#include "cuda/kernels/activation.h"
#include "cuda/kernels/quantized_rows.h"

namespace bertie::cuda {

struct Int8SumsParams {
  const int8_t* x;       // [rows, depth]
  const int8_t* weight;  // [width, depth]
  int32_t* sums;         // [rows, width]
  int64_t rows, width, depth;
};

cudaError_t launch_int8_sums(const Int8SumsParams& params, cudaStream_t stream);

// Addresses are 16-byte aligned.
struct EightBitResultsParams {
  const void* sums;    // [rows, width]
  int32_t float_sums;  // float32, of e4m3; else 32-bit integers
  const float* x_scale;
  int32_t one_scale;     // x_scale is one number, else [rows]
  const float* w_scale;  // [width]
  const float* bias;     // [width]; nullptr: none
  const void* residual;  // [rows, width]; nullptr: none
  void* y;               // [rows, width]; nullptr: in eight bits alone
  Element element;       // of residual and y
  QuantizedRows quantized;
  Activation activation;
  int64_t rows, width;
  int64_t first_row;         // of the whole result that row 0 here is
  const int32_t* live_rows;  // of the whole result; nullptr: all
  int32_t* overflow;         // gets min(*overflow, step) where a live result is not finite; nullptr: not looked for
  int32_t step;
};

cudaError_t launch_eight_bit_results(const EightBitResultsParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
