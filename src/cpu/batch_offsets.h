// Where the matrices (or rows) of a broadcast operand lie.
#pragma once

#include <algorithm>
#include <array>

#include "bertie/tensor.h"

namespace bertie::cpu {

// The leading axes of an operand against those of a result: all but the last `inner` of each. NumPy's broadcasting.
class BatchOffsets {
 public:
  BatchOffsets(const Shape& operand, const Shape& result, int inner) : axes_(std::max(result.rank() - inner, 0)) {
    int64_t stride = 1;
    for (int axis = 1; axis <= axes_; ++axis) {
      extents_[static_cast<size_t>(axis - 1)] = result[axes_ - axis];
      const int own = operand.rank() - inner - axis;
      if (own < 0) continue;
      strides_[static_cast<size_t>(axis - 1)] = operand[own] == 1 ? 0 : stride;
      stride *= operand[own];
    }
  }
  // Which of the operand's matrices matrix `index` of the result reads.
  int64_t operator()(int64_t index) const {
    int64_t offset = 0;
    for (size_t axis = 0; axis < static_cast<size_t>(axes_); ++axis) {
      offset += index % extents_[axis] * strides_[axis];
      index /= extents_[axis];
    }
    return offset;
  }

 private:
  int axes_;
  std::array<int64_t, Shape::kMaxRank> extents_{}, strides_{};  // the last of the leading axes first
};

}  // namespace bertie::cpu
