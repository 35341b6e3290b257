// ONNX Slice's arithmetic, shared by the shape rule and the kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace bertie {

// Elements start, start + step, ... of an axis, `count` of them.
struct SliceRange {
  int64_t start = 0;
  int64_t step = 1;
  int64_t count = 0;
};

// Negative starts and ends count from the end of the axis; what is still outside is clamped. step != 0.
inline SliceRange slice_range(int64_t start, int64_t end, int64_t step, int64_t extent) {
  if (extent == 0) return {0, step, 0};
  if (start < 0) start += extent;
  if (end < 0) end += extent;
  const bool forward = step > 0;
  start = std::clamp<int64_t>(start, 0, forward ? extent : extent - 1);
  end = std::clamp<int64_t>(end, forward ? 0 : -1, forward ? extent : extent - 1);
  const uint64_t stride = forward ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  const int64_t distance = forward ? end - start : start - end;
  return {start, step, distance <= 0 ? 0 : static_cast<int64_t>((static_cast<uint64_t>(distance) + stride - 1) / stride)};
}

}  // namespace bertie
