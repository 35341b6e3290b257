// What both bfloat16 GEMMs do around their products: rows of A brought into the form that they multiply, and sums made C.
#pragma once

#include "cpu/kernels/activation.h"
#include "cpu/kernels/bf16_gemm.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

// Sixteen floats rounded by the instruction: subnormals become zero, which the products read them as anyway.
BERTIE_INLINE __m256i to_bf16(Vec16 x) { return __builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(x.v)); }

// `count` elements from element `offset` of `from`, zeros behind them up to `depth`, a multiple of 32.
template <FloatType type>
BERTIE_INLINE void bf16_row(const void* from, int64_t offset, int64_t count, int64_t depth, uint16_t* to) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const auto* halves = static_cast<const uint16_t*>(from) + offset + i;
    const __m256i lanes = type == FloatType::bf16 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves))
                                                  : to_bf16(read_floats<type>(from, offset + i, 16));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), lanes);
  }
  for (; i < depth; i += 16) {
    const int64_t left = max(0, count - i);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), to_bf16(read_floats<type>(from, offset + i, left)));
  }
}
BERTIE_INLINE void bf16_row(FloatType type, const void* from, int64_t offset, int64_t count, int64_t depth, uint16_t* to) {
  switch (type) {
    case FloatType::f32: return bf16_row<FloatType::f32>(from, offset, count, depth, to);
    case FloatType::f16: return bf16_row<FloatType::f16>(from, offset, count, depth, to);
    case FloatType::bf16: return bf16_row<FloatType::bf16>(from, offset, count, depth, to);
  }
}

// `rows` rows of `panels` panels, from sums whose rows are `stride` floats apart.
template <typename Function>
BERTIE_INLINE void finish_bf16_tile(const Bf16GemmProblem& problem, int64_t row, int64_t rows, int64_t panel, int64_t panels,
                                    const float* sums, int64_t stride, Function activation) {
  // Copies, for what is written might be `problem` for all that the compiler knows.
  const int64_t column = panel * kGemmPanel, columns = min(problem.weight.n - column, panels * kGemmPanel);
  const int64_t c_stride = problem.c_stride;
  const float* const bias = problem.bias ? problem.bias + column : nullptr;
  const auto value = [&](int64_t i) __attribute__((always_inline)) {
    const Vec16 sum = load(sums + i);
    return activation(bias ? sum + load(bias + i) : sum);
  };
  if (problem.c_type == FloatType::f32) {
    float* c = static_cast<float*>(problem.c) + row * c_stride + column;
    for (; rows > 0; --rows, sums += stride, c += c_stride) {
      int64_t i = 0;
      for (; i + kGemmPanel <= columns; i += kGemmPanel) store(c + i, value(i));
      if (i < columns) store_partial(c + i, value(i), columns - i);
    }
  } else {
    uint16_t* c = static_cast<uint16_t*>(problem.c) + row * c_stride + column;
    for (; rows > 0; --rows, sums += stride, c += c_stride) {
      int64_t i = 0;
      for (; i + kGemmPanel <= columns; i += kGemmPanel) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(c + i), to_bf16(value(i)));
      }
      if (i < columns) _mm256_mask_storeu_epi16(c + i, first_lanes(columns - i), to_bf16(value(i)));
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
