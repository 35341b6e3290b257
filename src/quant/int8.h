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
// x * (127 / largest) (other_int8).
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

inline int8_t held_int8(float scaled) {
  const float held = scaled > -kInt8Largest ? std::min(scaled, kInt8Largest) : -kInt8Largest;  // NaN: the latter
  constexpr float kRounder = 0x1.8p23f;                                                        // leaves no bits of a fraction
  return static_cast<int8_t>((held + kRounder) - kRounder);
}

inline int8_t to_int8(float x, float largest) { return largest == 0 ? int8_t{0} : held_int8(x * (kInt8Largest / largest)); }

inline int8_t to_int8_fixed(float x, float inverse, float offset) { return held_int8(std::fma(x, inverse, offset)); }

// `values`: as many as `x`. Returns the scale.
inline float quantize_int8(std::span<const float> x, int8_t* values) {
  const float largest = largest_magnitude(x);
  for (size_t i = 0; i < x.size(); ++i) values[i] = to_int8(x[i], largest);
  return largest / kInt8Largest;
}

// The integer on the other side of `scaled`, as seen from the nearest one; of an integer the one nearer to 0; the nearest itself where there is
// no other within [-127, 127].
inline int8_t other_int8(float scaled) {
  const float nearest = held_int8(scaled);
  return held_int8(nearest + (scaled > nearest || (scaled == nearest && nearest < 0) ? 1.0f : -1.0f));
}

// quantize_int8, to the other neighbour at the columns `others`, each below x.size().
inline float quantize_int8(std::span<const float> x, std::span<const int32_t> others, int8_t* values) {
  const float scale = quantize_int8(x, values);
  if (scale == 0) return scale;
  const float inverse = kInt8Largest / largest_magnitude(x);
  for (const int32_t k : others) values[k] = other_int8(x[static_cast<size_t>(k)] * inverse);
  return scale;
}

// `bias`: nullptr where there is none.
inline float int8_result(int32_t sum, float x_scale, float w_scale, const float* bias) {
  const float scale = x_scale * w_scale, exact = static_cast<float>(sum);
  return bias ? std::fma(exact, scale, *bias) : exact * scale;
}

}  // namespace bertie
