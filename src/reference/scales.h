// Which scale an element of a quantised tensor has, and how a number becomes a level.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/elements.h"

namespace bertie::reference {

// One scale for the whole tensor, one for each place along an axis, or (block > 0) one for each `block` places along it.
class ScalePlaces {
 public:
  ScalePlaces(const Shape& x, const Shape& scale, int64_t axis, int64_t block) {
    if (scale.elements() == 1 && block == 0) return;  // also of shape [1]
    x_ = around_axis(x, axis_of(axis, x.rank()));
    inner_ = block > 0 ? x_.inner : 1;
    block_ = std::max<int64_t>(block, 1);
    extent_ = block > 0 ? (x_.extent + block - 1) / block : x_.extent;
    per_outer_ = block > 0 ? extent_ * inner_ : 0;
    whole_ = false;
  }
  int64_t operator()(int64_t element) const {
    if (whole_) return 0;
    const int64_t place = element / x_.inner % x_.extent;
    const int64_t outer = element / (x_.inner * x_.extent);
    return outer * per_outer_ + place / block_ * inner_ + element % x_.inner % inner_;
  }

 private:
  AxisView x_;
  int64_t inner_ = 1, block_ = 1, extent_ = 1, per_outer_ = 0;
  bool whole_ = true;
};

// round half to even(x) + zero_point, held within T. NaN gives the zero point.
template <typename T>
T quantized(float x, int64_t zero_point) {
  if (std::isnan(x)) return static_cast<T>(zero_point);
  const double level = std::nearbyint(static_cast<double>(x)) + static_cast<double>(zero_point);
  return static_cast<T>(std::clamp<double>(level, std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max()));
}

}  // namespace bertie::reference
