// The one definition of numbers of eight bits with four of exponent and three of mantissa (e4m3): magnitudes to 448, no infinities, one NaN
// a sign. Rounded to the nearest, ties to even; what is beyond 448 becomes 448, infinities too; NaN stays. Of a row:
//
//   scale  = largest / 448          largest: the row's largest magnitude; NaN where one of its values is
//   values = e4m3(x * (448 / largest))
//
// in float32, each operation rounded once. A row of zeros has scale 0 and values 0; of a row that is not finite the scale is not either.
// Rows of weights have scales that cost less: fp8_weights.h. With fixed scales, one for all of x, and for each column k two numbers made of
// it (fixed_quantization):
//
//   values = e4m3(fma(x, inverse[k], offset[k]))
//
// A product of rows is summed in float32, in an order that the kernel chooses:
//
//   y = fma(sum, x_scale * w_scale, bias)
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>

#include "quant/int8.h"

namespace bertie {

inline constexpr float kFp8Largest = 448.0f;
inline constexpr int64_t kFp8Multiple = 16;  // of both extents of a product's weights: what matrix units take

inline uint8_t float_to_fp8(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x), magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<uint8_t>(bits >> 24 & 0x80u);
  const float value = std::bit_cast<float>(magnitude);
  if (value != value) return sign | 0x7f;
  if (value >= kFp8Largest) return sign | 0x7e;
  if (value < 0x1p-6f) {  // multiples of 2^-9; the eighth is the smallest with an exponent, and its code the next
    constexpr float kRounder = 0x1.8p14f;  // leaves no bits below 2^-9
    return static_cast<uint8_t>(sign | static_cast<uint8_t>(((value + kRounder) - kRounder) * 512.0f));
  }
  const uint32_t rounded = magnitude + 0x7ffffu + (magnitude >> 20 & 1u);
  return static_cast<uint8_t>(sign | ((rounded >> 20) - (120u << 3)));  // exponents are 127 - 7 apart
}

inline float fp8_to_float(uint8_t code) {
  const uint32_t sign = static_cast<uint32_t>(code & 0x80) << 24, exponent = code >> 3 & 0xf, mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(sign | 0x7fc00000u);
  const float magnitude =
      exponent == 0 ? static_cast<float>(mantissa) * 0x1p-9f : std::bit_cast<float>((exponent + 120) << 23 | mantissa << 20);
  return sign ? -magnitude : magnitude;
}

inline uint8_t to_fp8_fixed(float x, float inverse, float offset) { return float_to_fp8(std::fma(x, inverse, offset)); }

// `values`: as many as `x`. Returns the scale.
inline float quantize_fp8(std::span<const float> x, uint8_t* values) {
  const float largest = largest_magnitude(x), inverse = largest == 0 ? 0 : kFp8Largest / largest;
  for (size_t i = 0; i < x.size(); ++i) values[i] = float_to_fp8(x[i] * inverse);
  return largest / kFp8Largest;
}

}  // namespace bertie
