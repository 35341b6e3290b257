#include "quant/histogram.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace bertie {

void Histogram::add(std::span<const float> values) {
  constexpr float kLast = kBins - 1;
  // In float32, as the values are; the smallest of ranges has no finite inverse.
  const auto bins_per_unit = static_cast<float>(std::min(range_ > 0 ? kBins / range_ : 0, 3e38));
  for (const float value : values) ++counts_[static_cast<size_t>(std::min(std::abs(value) * bins_per_unit, kLast))];
}

void Histogram::merge(const Histogram& other) {
  for (size_t bin = 0; bin < kBins; ++bin) counts_[bin] += other.counts_[bin];
}

uint64_t Histogram::total() const { return std::accumulate(counts_.begin(), counts_.end(), uint64_t{0}); }

}  // namespace bertie
