#include "bertie/calibration.h"

#include <algorithm>
#include <cmath>

namespace bertie {

void Histogram::add(std::span<const float> values) {
  constexpr float kLast = kBins - 1;
  // In float32, as the values are; the smallest of ranges has no finite inverse.
  const auto bins_per_unit = static_cast<float>(std::min(range_ > 0 ? kBins / range_ : 0, 3e38));
  for (const float value : values) ++counts_[static_cast<size_t>(std::min(std::abs(value) * bins_per_unit, kLast))];
}

}  // namespace bertie
