// Steps that bring elements into another order without looking at them: transpose, slice, split, concat, expand.
#pragma once

#include <array>

#include "cuda/kernels/strided_copy.h"
#include "cuda/step.h"

namespace bertie::cuda {

// How far apart, in elements, neighbours along each axis of a shape lie.
using Strides = std::array<int64_t, kMostAxes>;
Strides row_major_strides(const Shape& shape);

// Wants an input as it lies, a constant as the network says; gives how its floats are kept.
DType want_kept(Operands& operands, size_t input, std::string_view name);

// Wants inputs [first, end) alike: floats as they lie where all lie so, else as f32. Gives how they are kept.
DType want_alike(Operands& operands, size_t first, size_t end, std::string_view name);

class CopyStep : public Step {
 protected:
  // `kept`: how its inputs' floats are, and its results'.
  CopyStep(Operands& operands, DType kept);

  // Elements of `bytes` bytes at the places of `extents`.
  void copy(const DeviceBatch& batch, const void* x, const Strides& x_strides, void* y, const Strides& y_strides,
            const Shape& extents, size_t bytes) const;

 private:
  Launcher<StridedCopyParams> launcher_;
};

// Axes that lie one behind the other in both are one axis, and neighbours that are copied together one element of up to 16 bytes.
void simplify(StridedCopyParams& params);

}  // namespace bertie::cuda
