// Counts of a tensor's magnitudes in bins of one width, from 0 to a range that is known beforehand. Integers: the same values give the
// same counts in any order and any division.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace bertie {

class Histogram {
 public:
  static constexpr size_t kBins = 2048;  // as TensorRT's calibrators had

  // Bin i holds magnitudes in [i, i + 1) * range / kBins, the last one also the range and what is above it. A range of 0: everything
  // is in the first bin. `range` is finite and not negative.
  explicit Histogram(double range) : range_(range), counts_(kBins) {}

  void add(std::span<const float> values);  // finite ones
  void add_count(size_t bin, uint64_t count) { counts_[bin] += count; }
  // What `other`, of the same range, has counted.
  void merge(const Histogram& other);

  double range() const { return range_; }
  double width() const { return range_ / kBins; }  // of a bin
  std::span<const uint64_t> counts() const { return counts_; }
  uint64_t total() const;

 private:
  double range_;
  std::vector<uint64_t> counts_;
};

}  // namespace bertie
