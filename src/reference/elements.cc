#include "reference/elements.h"

namespace bertie::reference {

void copy_elements(const TensorView& from, const MutableTensorView& to) {
  with_copy(from, to, [&](auto copy) {
    for (int64_t i = 0; i < to.shape.elements(); ++i) copy(i, i);
  });
}

Strides row_major_strides(const Shape& shape) {
  Strides strides{};
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = stride;
    stride *= shape[axis];
  }
  return strides;
}

Strides broadcast_strides(const Shape& shape, const Shape& result) {
  const Strides own = row_major_strides(shape);
  Strides strides{};
  const int added = result.rank() - shape.rank();
  for (int axis = 0; axis < shape.rank(); ++axis) {
    strides[static_cast<size_t>(axis + added)] = shape[axis] == 1 ? 0 : own[static_cast<size_t>(axis)];
  }
  return strides;
}

AxisView around_axis(const Shape& shape, int axis) {
  AxisView view;
  for (int i = 0; i < axis; ++i) view.outer *= shape[i];
  view.extent = shape[axis];
  for (int i = axis + 1; i < shape.rank(); ++i) view.inner *= shape[i];
  return view;
}

}  // namespace bertie::reference
