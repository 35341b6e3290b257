// Weights that are eight-bit integers already, times a step: a quantised file's. They keep their integers, where the scale of int8.h, 127 to
// the largest, would round them a second time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/int8.h"

namespace bertie {

// The step of which every number of the row is a multiple, 128 times at most; 0 where there is none. What x / step comes to is off by the
// rounding of x and of the step, a hundred-thousandth or two.
inline float int8_step(std::span<const float> x) {
  constexpr float kOff = 1e-4f;
  const float largest = largest_magnitude(x);
  if (!(largest > 0x1p-100f && largest < 0x1p100f)) return 0;  // NaN too
  const auto fits = [&](float step) {
    return std::all_of(x.begin(), x.end(), [&](float value) {
      const float multiple = value / step;
      return std::fabs(multiple - nearest_integer(multiple)) <= kOff;
    });
  };
  for (int i = 0; i < 128; ++i) {
    const int count = i < 127 ? 127 - i : 128;  // 128 last: such an integer is held at 127
    const float step = largest / static_cast<float>(count);
    if (!fits(step)) continue;
    // The float that gives the most of the row to the bit.
    const auto exact = [&](float candidate) {
      return std::count_if(x.begin(), x.end(), [&](float value) { return nearest_integer(value / step) * candidate == value; });
    };
    float best = step;
    auto most = exact(step);
    for (const float candidate : {std::nextafter(step, 0.0f), std::nextafter(step, HUGE_VALF)}) {
      if (most == static_cast<std::ptrdiff_t>(x.size())) break;
      if (const auto own = exact(candidate); own > most) {
        best = candidate;
        most = own;
      }
    }
    return best;
  }
  return 0;
}

// As quantize_int8, but for such rows.
inline float quantize_int8_weights(std::span<const float> x, int8_t* values) {
  const float step = int8_step(x);
  if (step == 0) return quantize_int8(x, values);
  for (size_t i = 0; i < x.size(); ++i) values[i] = held_int8(x[i] / step);
  return step;
}

}  // namespace bertie
