// GELU (erf) for results of 16 bits: x / (1 + 2^-q(x)), where q is the odd polynomial nearest to log2(Phi(x) / Phi(-x)), by the error of the
// result. At most 3.4e-6 from the exact value for every x in [-12, 12], and 3.2e-6 of it beyond: below half a unit of f16 and bf16 from |y| = 0.01.
#pragma once

#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/pairs.cuh"

namespace bertie::cuda {

// As a stage for each of kCount values after the other: special functions take long to answer, so that many must be asked at a time.
template <int kCount>
__device__ inline void gelu_exponents(const float (&x)[kCount], float (&exponents)[kCount]) {  // -q(x)
  constexpr float kTerms[] = {-3.2103746e-6f, 8.7909713e-5f, 3.6204807e-4f, -0.10522997f, -2.3020437f};
  float squares[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) squares[i] = x[i] * x[i];
#pragma unroll
  for (int i = 0; i < kCount; ++i) exponents[i] = fmaf(kTerms[0], squares[i], kTerms[1]);
#pragma unroll
  for (int term = 2; term < 5; ++term) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) exponents[i] = fmaf(exponents[i], squares[i], kTerms[term]);
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) exponents[i] *= x[i];
}

__device__ inline float gelu_in_16_bits(float x) {
  float exponent[1];
  gelu_exponents({x}, exponent);
  return x * inverse(1.0f + power_of_two(exponent[0]));
}

// Of two f16, for what is then rounded to eight bits: x (1 + tanh(x (a + b x^2))) / 2 with the a and b of the least largest error, 2.7e-4; f16 makes
// that 5e-4 in the mean for |x| below 3. Beyond |x| = 255 its square is infinite, and tanh 1.
__device__ inline uint32_t coarse_gelu(uint32_t pair) {
  const __half2 x = *reinterpret_cast<const __half2*>(&pair);
  const __half2 half = __float2half2_rn(0.5f);
  const __half2 argument = __hmul2(x, __hfma2(__hmul2(x, x), __float2half2_rn(0.03470731f), __float2half2_rn(0.800143f)));
  uint32_t tanh;
  asm("tanh.approx.f16x2 %0, %1;" : "=r"(tanh) : "r"(*reinterpret_cast<const uint32_t*>(&argument)));
  const __half2 y = __hmul2(x, __hfma2(*reinterpret_cast<const __half2*>(&tanh), half, half));
  return *reinterpret_cast<const uint32_t*>(&y);
}

// Of values from -6 on, below which |y| < 6e-9: two share a division, and what they divide by stays finite.
template <int kCount>
__device__ inline void gelu_in_16_bits(float (&x)[kCount]) {
  static_assert(kCount % 2 == 0);
  float e[kCount];
  gelu_exponents(x, e);
#pragma unroll
  for (int i = 0; i < kCount; ++i) e[i] = power_of_two(e[i]);
#pragma unroll
  for (int i = 0; i < kCount; ++i) e[i] += 1.0f;
#pragma unroll
  for (int i = 0; i < kCount; i += 2) {
    const float first = x[i] * e[i + 1];
    x[i + 1] *= e[i];
    x[i] = first;
    e[i] *= e[i + 1];
  }
#pragma unroll
  for (int i = 0; i < kCount; i += 2) e[i] = inverse(e[i]);
#pragma unroll
  for (int i = 0; i < kCount; ++i) x[i] *= e[i / 2 * 2];
}

// Of pairs in 16 bits: a pair's two share the division, so that it has the same bits in any company.
template <typename T, int kPairs>
__device__ inline void apply_gelu(uint32_t (&pairs)[kPairs]) {
  const Pair<T> least{T(-6.0f), T(-6.0f)};
  float x[2 * kPairs];
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const float2 two = floats(__hmax2_nan(pair_in<T>(pairs[i]), least));
    x[2 * i] = two.x;
    x[2 * i + 1] = two.y;
  }
  gelu_in_16_bits(x);
#pragma unroll
  for (int i = 0; i < kPairs; ++i) pairs[i] = pair<T>(x[2 * i], x[2 * i + 1]);
}

// Of pairs in f16, where what comes of it is rounded to eight bits.
template <int kPairs>
__device__ inline void apply_coarse_gelu(uint32_t (&pairs)[kPairs]) {
#pragma unroll
  for (int i = 0; i < kPairs; ++i) pairs[i] = coarse_gelu(pairs[i]);
}

}  // namespace bertie::cuda
