// Vectorised exp, erf, tanh, sigmoid and the activations made of them, on Vec16.
//
// Largest errors against double arithmetic, over every 37th float (one ulp = 2^-23 of the result's binade); `generic`, which has no
// FMA, in brackets. cpu/math_test.cc holds them. NaN in, NaN out.
//   exp       1.3 ulp; 0 below -86.6, infinity above 88.73       exp2_negative  1.0 (1.3) ulp for -126 <= x <= 0
//   erf       5.2 (6.4) ulp       tanh 3.4 ulp                   sigmoid        2.5 ulp; 0 below -86.6
//   gelu_erf  1.8e-7 (2.3e-7) |x|, absolute                      silu           2.4 ulp
//   gelu_tanh 1.2e-7 |x|, absolute
#pragma once

#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

// a * b + c rounded once, on every instruction set.
BERTIE_INLINE Vec16 fused(Vec16 a, Vec16 b, Vec16 c) {
#if defined(__FMA__)
  return fma(a, b, c);
#else
  float x[16], y[16], z[16];
  store(x, a);
  store(y, b);
  store(z, c);
  for (int i = 0; i < 16; ++i) z[i] = __builtin_fmaf(x[i], y[i], z[i]);
  return load(z);
#endif
}

// Held within what eight bits hold (src/quant/int8.h); NaN becomes -127.
BERTIE_INLINE Vec16 held(Vec16 x) { return min(max(x, broadcast(-127.0f)), broadcast(127.0f)); }

// Coefficients are from the constant term up.
template <int n>
BERTIE_INLINE Vec16 polynomial(Vec16 x, const float (&coefficients)[n]) {
  Vec16 result = broadcast(coefficients[n - 1]);
#pragma GCC unroll 8
  for (int i = n - 2; i >= 0; --i) result = fma(result, x, broadcast(coefficients[i]));
  return result;
}

namespace detail {
// Minimax fits of 2^f on [-1/2, 1/2] and e^r on [-ln2/2, ln2/2], relative error 2e-9.
alignas(64) static constexpr float kExp2[] = {
    1.0f, 6.931471825e-01f, 2.402264774e-01f, 5.550332367e-02f, 9.618436918e-03f, 1.339887502e-03f, 1.535336196e-04f};
alignas(64) static constexpr float kExp[] = {
    1.0f, 1.0f, 4.999999404e-01f, 1.666643173e-01f, 4.166800156e-02f, 8.374155499e-03f, 1.384365372e-03f};
// (normal_cdf(x) - 1/2) / x as a ratio of polynomials in x^2 on |x| <= 5.3, error 6e-9 of |x|; beyond it the sum rounds to 0 or 1.
alignas(64) static constexpr float kNormalNumerator[] = {3.989422619e-01f, 3.282526508e-02f, 4.621096421e-03f,
                                                         1.591755426e-04f, 6.368268714e-06f, 2.412349254e-08f};
alignas(64) static constexpr float kNormalDenominator[] = {
    1.0f, 2.489471436e-01f, 2.807517722e-02f, 1.830119989e-03f, 7.096289482e-05f, 1.238478148e-06f};
static constexpr float kNormalLimit = 5.3f;

struct ReducedExp {
  Vec16 polynomial;  // e^r - 1
  Vec16 scale;       // 2^(n-1)
};
// e^x = 2^n e^r with |r| <= ln2/2, for -86.6 <= x <= 88.73.
BERTIE_INLINE ReducedExp reduce_exp(Vec16 x) {
  const IVec16 n = round_to_int(x * broadcast(1.44269504f));
  const Vec16 n_float = to_float(n);
  Vec16 r = fnma(n_float, broadcast(0.693359375f), x);  // ln2 in two parts, the first exact in 10 bits
  r = fnma(n_float, broadcast(-2.12194440e-4f), r);
  Vec16 sum = broadcast(kExp[6]);
#pragma GCC unroll 8
  for (int i = 5; i >= 1; --i) sum = fma(sum, r, broadcast(kExp[i]));
  return {sum * r, from_bits(shift_left<23>(n + broadcast_int(126)))};
}
// 1 / x for x in [1, 2^60], within 1 ulp: a guess from the bits, twice cubed in its error. Far quicker than a division of vectors.
BERTIE_INLINE Vec16 reciprocal(Vec16 x) {
  const Vec16 one = broadcast(1.0f);
  Vec16 r = from_bits(broadcast_int(0x7ef311c7) - bits(x));
#pragma GCC unroll 2
  for (int step = 0; step < 2; ++step) {
    const Vec16 error = fnma(x, r, one);
    r = fma(r, fma(error, error, error), r);
  }
  return r;
}
// normal_cdf(x) - 1/2
BERTIE_INLINE Vec16 centred_normal_cdf(Vec16 x) {
  const Vec16 u = min(x * x, broadcast(kNormalLimit * kNormalLimit));
  const Vec16 h = x * (polynomial(u, kNormalNumerator) * reciprocal(polynomial(u, kNormalDenominator)));
  return max(broadcast(-0.5f), min(broadcast(0.5f), h));
}
}  // namespace detail

BERTIE_INLINE Vec16 exp(Vec16 x) {
  const Vec16 lowest = broadcast(-86.6f);
  const detail::ReducedExp e = detail::reduce_exp(max(lowest, min(broadcast(88.8f), x)));
  const Vec16 result = (e.polynomial + broadcast(1.0f)) * e.scale;
  return select(x < lowest, zero(), result + result);
}

// 2^x for x <= 0, held above 2^-126: the softmax's exponential, without a branch for what underflows.
BERTIE_INLINE Vec16 exp2_negative(Vec16 x) {
  const Vec16 magic = broadcast(12582912.0f);  // 1.5 * 2^23: adding it leaves round(x) in the low bits
  x = max(broadcast(-126.0f), x);
  const Vec16 shifted = x + magic;
  const Vec16 p = polynomial(x - (shifted - magic), detail::kExp2);
  return from_bits(bits(p) + shift_left<23>(bits(shifted)));
}

BERTIE_INLINE Vec16 erf(Vec16 x) {
  const Vec16 half = detail::centred_normal_cdf(x * broadcast(1.41421356f));
  return half + half;
}

BERTIE_INLINE Vec16 sigmoid(Vec16 x) {
  const Vec16 one = broadcast(1.0f);
  return one / (one + exp(negate(x)));
}

// expm1(2x) / (expm1(2x) + 2): no cancellation near 0.
BERTIE_INLINE Vec16 tanh(Vec16 x) {
  const Vec16 limit = broadcast(10.0f);  // tanh rounds to 1 from 9.1 on
  const Vec16 clamped = max(negate(limit), min(limit, x));
  const detail::ReducedExp e = detail::reduce_exp(clamped + clamped);
  const Vec16 scale = e.scale + e.scale;
  const Vec16 expm1 = fma(e.polynomial, scale, scale - broadcast(1.0f));
  return expm1 / (expm1 + broadcast(2.0f));
}

// NaN where either is.
BERTIE_INLINE Vec16 minimum(Vec16 a, Vec16 b) { return select(a == a, min(a, b), a); }
BERTIE_INLINE Vec16 maximum(Vec16 a, Vec16 b) { return select(a == a, max(a, b), a); }

BERTIE_INLINE Vec16 relu(Vec16 x) { return max(zero(), x); }

BERTIE_INLINE Vec16 silu(Vec16 x) { return x / (broadcast(1.0f) + exp(negate(x))); }

// x * normal_cdf(x): the exact GELU.
BERTIE_INLINE Vec16 gelu_erf(Vec16 x) { return fma(x, detail::centred_normal_cdf(x), broadcast(0.5f) * x); }

// x/2 (1 + tanh(y)) = x sigmoid(2y), y = sqrt(2/pi) (x + 0.044715 x^3)
BERTIE_INLINE Vec16 gelu_tanh(Vec16 x) {
  const Vec16 minus_two_y = x * fma(x * x, broadcast(-0.0713548163f), broadcast(-1.59576912f));
  return x / (broadcast(1.0f) + exp(minus_two_y));
}

}  // namespace bertie::cpu::BERTIE_ISA
