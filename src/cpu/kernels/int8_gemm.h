// C[M,N] = activation(S * (a_scale[M] * w_scale[N]) + bias[N]) + residual[M,N], S = A[M,K] * W[N,K]^T of eight-bit integers.
//
// S is exact: both operands lie in [-127, 127], every sum of products is held in 32 bits and nothing saturates, for K up to
// kInt8MaxDepth. Then float(S), rounded to nearest, takes one fma with the scale and the bias (one product where there is no
// bias). The values are those of src/quant/int8.h; up to the activation every instruction set gives the same bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/gemm.h"

namespace bertie::cpu {

constexpr int64_t kInt8DepthStep = 64;               // panels hold K in multiples of it, zeros behind the end
constexpr int64_t kInt8MaxDepth = int64_t{1} << 17;  // 128 * 127 times it is below 2^31

constexpr int64_t int8_depth(int64_t k) { return (k + kInt8DepthStep - 1) / kInt8DepthStep * kInt8DepthStep; }

struct Int8Weight {
  const int8_t* panels;   // TensorLayout::panels_16x4: [panel][int8_depth(k) / 4][16 columns][4 of k], 64-byte aligned
  const uint16_t* order;  // [int8_order_length(k) * panels] and
  const int32_t* starts;  // [16 * panels]: what int8_order gives for them
  int64_t n, k;
};

struct Int8GemmProblem {
  const int8_t* a;  // [M, k]
  int64_t a_stride;
  const float* a_scales;   // [M], or one for all rows:
  int64_t a_scale_stride;  // 1 or 0
  Int8Weight weight;
  const float* w_scales;  // [16 * panels]
  const float* bias;      // [16 * panels] or nullptr
  Activation activation;
  const float* residual;  // [M, n] or nullptr
  int64_t residual_stride;
  float* c;  // [M, n], or nullptr:
  int64_t c_stride;
  int8_t* values;        // the result as integers by fixed scales, c_stride apart too; nullptr: floats
  const float* inverse;  // [n]
  const float* offset;   // [n]
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {

// Computes one range of C, of any number of rows. `scratch`: int8_gemm_scratch_bytes of this thread, 64-byte aligned.
void int8_gemm(const Int8GemmProblem& problem, const GemmRange& range, std::byte* scratch);
size_t int8_gemm_scratch_bytes(int64_t rows, int64_t k);

// Panels [begin, end) of a row-major weight [n, k], the first at `panels`.
void pack_int8_panels(const int8_t* weight, int64_t n, int64_t k, int64_t begin, int64_t end, int8_t* panels);

// For `count` panels of `k`: what the columns' sums start from, starts[16 * count], and where lines are not taken one after another their
// order[int8_order_length(k) * count]; else that length is 0.
void int8_order(const int8_t* panels, int64_t count, int64_t k, uint16_t* order, int32_t* starts);
int64_t int8_order_length(int64_t k);

// Rows of one range that serve these kernels best where M is large.
int64_t int8_gemm_rows_at_once();
// Panels that a tile of `rows` rows takes at once (a range of as many is without waste).
int64_t int8_gemm_panels_at_once(int64_t rows);

}  // namespace bertie::cpu::BERTIE_ISA
#endif
