// The one definition of eight-bit quantisation: values in [-127, 127]. At run time symmetric, with a scale for each row:
//
//   scale  = largest / 127        largest: the row's largest magnitude; NaN where one of its values is
//   values = x * (127 / largest), rounded to the nearest integer, ties to even, and held within [-127, 127]
//
// all in float32, each operation rounded once. A row of zeros has scale 0 and values 0. Where a row is not finite its scale is not
// either, so that every product shows it; its values are then of no meaning (NaN becomes -127). With scales fixed by calibration,
// one scale for all of x, and for each column k two numbers made of it (fixed_quantization):
//
//   values = fma(x, inverse[k], offset[k]), held within [-127, 127], rounded likewise; NaN becomes -127
//
// Rows of weights are quantised as rows at run time are, but where a calibration lists columns: there the value is the other neighbour of
// x * (127 / largest) (other_int8); and those that are integers times a step already keep them (int8_weights.h).
//
// A product of rows is exact:
//
//   y = fma(float(sum), x_scale * w_scale, bias)      sum: of the products of values, in 32 bits; no bias: the product alone
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

namespace bertie {

inline constexpr float kInt8Largest = 127.0f;

inline float largest_magnitude(std::span<const float> x) {
  uint32_t largest = 0;  // the bits of magnitudes are ordered as they are, NaN above infinity
  for (const float value : x) largest = std::max(largest, std::bit_cast<uint32_t>(value) & 0x7fffffffu);
  return std::bit_cast<float>(largest);
}

// Ties to even; for magnitudes up to 2^22.
inline float nearest_integer(float x) {
  constexpr float kRounder = 0x1.8p23f;  // leaves no bits of a fraction
  return (x + kRounder) - kRounder;
}

inline int8_t held_int8(float scaled) {
  const float held = scaled > -kInt8Largest ? std::min(scaled, kInt8Largest) : -kInt8Largest;  // NaN: the latter
  return static_cast<int8_t>(nearest_integer(held));
}

inline float inverse_int8(float largest) { return largest == 0 ? 0 : kInt8Largest / largest; }

inline int8_t to_int8(float x, float largest) { return held_int8(x * inverse_int8(largest)); }

inline int8_t to_int8_fixed(float x, float inverse, float offset) { return held_int8(std::fma(x, inverse, offset)); }

// The integer on the other side of `scaled`, as seen from the nearest one; of an integer the one nearer to 0; the nearest itself where there is
// no other within [-127, 127].
inline int8_t other_int8(float scaled) {
  const float nearest = held_int8(scaled);
  return held_int8(nearest + (scaled > nearest || (scaled == nearest && nearest < 0) ? 1.0f : -1.0f));
}

// `values`: as many as `x`; at the columns `others`, each below x.size(), the other neighbour. Returns the scale.
inline float quantize_int8(std::span<const float> x, std::span<const int32_t> others, int8_t* values) {
  const float largest = largest_magnitude(x), inverse = inverse_int8(largest), scale = largest / kInt8Largest;
  for (size_t i = 0; i < x.size(); ++i) values[i] = held_int8(x[i] * inverse);
  if (scale == 0) return scale;
  for (const int32_t k : others) values[k] = other_int8(x[static_cast<size_t>(k)] * inverse);
  return scale;
}

inline float quantize_int8(std::span<const float> x, int8_t* values) { return quantize_int8(x, {}, values); }

// `bias`: nullptr where there is none.
inline float int8_result(int32_t sum, float x_scale, float w_scale, const float* bias) {
  const float scale = x_scale * w_scale, exact = static_cast<float>(sum);
  return bias ? std::fma(exact, scale, *bias) : exact * scale;
}

}  // namespace bertie
