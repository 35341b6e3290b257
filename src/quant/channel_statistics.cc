#include "quant/channel_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bertie {

ChannelStatistics::ChannelStatistics(size_t channels)
    : lowest_(channels, std::numeric_limits<float>::infinity()),
      highest_(channels, -std::numeric_limits<float>::infinity()),
      sums_(channels) {}

void ChannelStatistics::add(std::span<const float> rows) {
  const size_t channels = sums_.size();
  float *lowest = lowest_.data(), *highest = highest_.data();
  double* sums = sums_.data();
  for (size_t begin = 0; begin < rows.size(); begin += channels, ++rows_) {
    const float* row = rows.data() + begin;
    for (size_t k = 0; k < channels; ++k) {
      lowest[k] = std::min(lowest[k], row[k]);
      highest[k] = std::max(highest[k], row[k]);
      sums[k] += static_cast<double>(row[k]);
    }
  }
}

void ChannelStatistics::merge(const ChannelStatistics& later) {
  rows_ += later.rows_;
  for (size_t k = 0; k < sums_.size(); ++k) {
    lowest_[k] = std::min(lowest_[k], later.lowest_[k]);
    highest_[k] = std::max(highest_[k], later.highest_[k]);
    sums_[k] += later.sums_[k];
  }
}

bool ChannelStatistics::finite() const {
  return std::all_of(sums_.begin(), sums_.end(), [](double sum) { return std::isfinite(sum); });
}

std::vector<float> ChannelStatistics::mean() const {
  std::vector<float> means(sums_.size());
  for (size_t k = 0; k < means.size() && rows_ > 0; ++k) means[k] = static_cast<float>(sums_[k] / static_cast<double>(rows_));
  return means;
}

}  // namespace bertie
