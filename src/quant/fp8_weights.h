// Rows of weights in e4m3, each with the scale that costs its products least. An e4m3 number's steps follow its octave, so that scales from
// largest / 448 to twice that lose nothing in range, and differ in which of the weights come to lie near a number. Of
//
//   unit   = largest / 448        inverse = 448 / largest        largest: the row's largest magnitude
//   f[c]   = 1 + c / 16           c = 0 .. 15
//   value  = e4m3((x * inverse) * (1 / f[c]))
//   error  = sum over k of (value[k] * f[c] - x[k] * inverse)^2 * importance[k]
//
// c is the one of the least error, of equals the first, and the row's scale unit * f[c]. In float32, each operation rounded once; the sum in 16
// lanes by k modulo 16, which are then added by halves. `importance` says how much the product minds a column: E[x_k^2] of what the row is multiplied
// with, or the variance where what the rounding does to the mean is corrected otherwise; in any unit.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/four_floats.h"
#include "quant/fp8.h"

namespace bertie {

inline constexpr int kFp8Candidates = 16;

inline float fp8_candidate(int c) { return 1.0f + static_cast<float>(c) / 16.0f; }

// fp8_to_float(float_to_fp8(x)) of each, for magnitudes that round to 448 at most, without a branch.
inline FourFloats rounded_to_fp8(FourFloats x) {
  const auto octave = std::bit_cast<FourFloats>(std::bit_cast<FourWords>(x) & 0x7f800000);
  const FourFloats rounder =
      (octave > 0x1p-6f ? octave : FourFloats{} + 0x1p-6f) * 0x1.8p20f;  // leaves no bits below an eighth of the octave
  return (x + rounder) - rounder;
}

// `error` of the definition. `importance`: as many as `x`.
inline float fp8_error(std::span<const float> x, std::span<const float> importance, float inverse, float f) {
  constexpr size_t kLanes = 16;
  const float inverse_f = 1 / f;
  std::array<FourFloats, kLanes / 4> sums{};
  const auto add = [&](const float* values, const float* weights) {
    for (size_t i = 0; i < sums.size(); ++i) {
      const FourFloats value = load_four(values + 4 * i), weight = load_four(weights + 4 * i);
      const FourFloats exact = value * inverse, off = rounded_to_fp8(exact * inverse_f) * f - exact;
      sums[i] += off * off * weight;
    }
  };
  const size_t whole = x.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) add(x.data() + i, importance.data() + i);
  if (whole < x.size()) {  // zeros add nothing
    std::array<float, kLanes> values{}, weights{};
    std::copy(x.begin() + static_cast<ptrdiff_t>(whole), x.end(), values.begin());
    std::copy(importance.begin() + static_cast<ptrdiff_t>(whole), importance.end(), weights.begin());
    add(values.data(), weights.data());
  }
  const FourFloats four = (sums[0] + sums[2]) + (sums[1] + sums[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}

// `importance`: as many as `x`, none negative, all finite. Returns the scale. Rows of zeros, of what is not finite, and beyond what products of
// floats hold are as quantize_fp8 has them.
inline float quantize_fp8_weights(std::span<const float> x, std::span<const float> importance, uint8_t* values) {
  const float largest = largest_magnitude(x);
  if (!(largest > 0x1p-100f && largest < 0x1p100f)) return quantize_fp8(x, values);  // NaN too
  const float inverse = kFp8Largest / largest;
  float best = 1, least = fp8_error(x, importance, inverse, best);
  for (int c = 1; c < kFp8Candidates; ++c) {
    const float f = fp8_candidate(c), error = fp8_error(x, importance, inverse, f);
    if (error < least) best = f, least = error;
  }
  const float inverse_f = 1 / best;
  for (size_t i = 0; i < x.size(); ++i) values[i] = float_to_fp8(x[i] * inverse * inverse_f);
  return largest / kFp8Largest * best;
}

}  // namespace bertie
