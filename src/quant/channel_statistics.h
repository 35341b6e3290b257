// What is known of a tensor's channels, its last axis, once its rows have passed by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bertie {

class ChannelStatistics {
 public:
  explicit ChannelStatistics(size_t channels);

  // `rows` [n, channels].
  void add(std::span<const float> rows);
  // `later` follows what is here: extremes are the same in any order, sums are this one's, then the later one's.
  void merge(const ChannelStatistics& later);

  size_t channels() const { return sums_.size(); }
  uint64_t rows() const { return rows_; }
  // False where a NaN or an infinity was among the values: float32's sums are finite in float64.
  bool finite() const;
  // [channels]; infinite where there were no rows.
  std::span<const float> lowest() const { return lowest_; }
  std::span<const float> highest() const { return highest_; }
  // The means [channels], 0 without rows.
  std::vector<float> mean() const;

 private:
  uint64_t rows_ = 0;
  std::vector<float> lowest_, highest_;
  std::vector<double> sums_;
};

}  // namespace bertie
