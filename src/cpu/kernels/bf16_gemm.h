// C[M,N] = activation(A[M,K] * W[N,K]^T + bias[N]), both factors rounded to bfloat16 (nearest even, NaN stays NaN), sums in float32.
//
// The order of every sum, whatever the tile, the range, the batch or the number of threads, is the instruction's own, K ascending
// from a sum of zero: avx512_bf16 takes two k at a time (VDPBF16PS), amx 32 of them (TDPBF16PS). Both read factors that are
// subnormal as zero, and flush sums that would be. Then the bias is added, then the activation taken, then, where C is bfloat16,
// it is rounded. Instruction sets differ in the order, and so in last bits; on one of them a row's bits depend on the row alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernels/gemm.h"

namespace bertie::cpu {

constexpr int64_t kBf16DepthStep = 32;  // panels hold K in multiples of it, zeros behind the end

constexpr int64_t bf16_depth(int64_t k) { return (k + kBf16DepthStep - 1) / kBf16DepthStep * kBf16DepthStep; }

struct Bf16Weight {
  const uint16_t* panels;  // [panel][bf16_depth(k) / 2][16 columns][2 of k], 64-byte aligned
  int64_t n, k;
};

struct Bf16GemmProblem {
  const void* a;  // [M, k]
  FloatType a_type;
  int64_t a_stride;  // in elements
  Bf16Weight weight;
  const float* bias;  // [16 * panels] or nullptr
  Activation activation;
  void* c;           // [M, n]
  FloatType c_type;  // f32 or bf16
  int64_t c_stride;
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {

// Computes one range of C, of at most bf16_gemm_rows_at_once() rows. `scratch`: bf16_gemm_scratch_bytes of this thread, 64-byte aligned.
void bf16_gemm(const Bf16GemmProblem& problem, const GemmRange& range, std::byte* scratch);
size_t bf16_gemm_scratch_bytes(int64_t rows, int64_t k);

// Panels [begin, end) of a row-major weight [n, k], the first at `panels`.
void pack_bf16_panels(const GemmWeight& weight, int64_t begin, int64_t end, uint16_t* panels);

// Rows of one range that serve these kernels best where M is large.
int64_t bf16_gemm_rows_at_once();
// Panels that a tile of `rows` rows takes at once (a range of as many is without waste).
int64_t bf16_gemm_panels_at_once(int64_t rows);

}  // namespace bertie::cpu::BERTIE_ISA
#endif
