#include "cuda/copy_step.h"

namespace bertie::cuda {

Strides row_major_strides(const Shape& shape) {
  Strides strides{};
  int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[static_cast<size_t>(axis)] = stride;
    stride *= shape[axis];
  }
  return strides;
}

DType want_kept(Operands& operands, size_t input, std::string_view name) {
  const Value& value = operands.value(input);
  if (value.constant && is_stored_float(value.dtype)) {
    operands.want(input, DType::f32, name);
    return DType::f32;
  }
  operands.want_as_it_is(input);
  const DType kept = value.constant ? value.dtype : operands.stored(input);
  const DType result = operands.result().dtype;
  if (kept != result && (result != DType::f32 || !is_stored_float(kept)))
    throw Refused{fmt::format("{} is {}", name, dtype_name(kept))};
  return kept;
}

DType want_alike(Operands& operands, size_t first, size_t end, std::string_view name) {
  DType kept = operands.result().dtype;
  if (kept != DType::f32) {
    for (size_t i = first; i < end; ++i) want_kept(operands, i, name);
    return kept;
  }
  const auto own = [&](size_t i) { return operands.value(i).constant ? DType::f32 : operands.stored(i); };
  kept = own(first);
  for (size_t i = first + 1; i < end; ++i) kept = own(i) == kept ? kept : DType::f32;
  for (size_t i = first; i < end; ++i) operands.want(i, kept, name);
  return kept;
}

CopyStep::CopyStep(Operands& operands, DType kept)
    : Step(operands, kept), launcher_(device().launcher<StridedCopyParams>("strided_copy")) {}

void CopyStep::copy(const DeviceBatch& batch, const void* x, const Strides& x_strides, void* y, const Strides& y_strides,
                    const Shape& extents, size_t bytes) const {
  StridedCopyParams params{};
  params.x = x;
  params.y = y;
  params.element_bytes = static_cast<int32_t>(bytes);
  params.count = extents.elements();
  params.axes = extents.rank();
  for (size_t axis = 0; axis < static_cast<size_t>(extents.rank()); ++axis) {
    params.extents[axis] = extents[static_cast<int>(axis)];
    params.x_strides[axis] = x_strides[axis];
    params.y_strides[axis] = y_strides[axis];
  }
  if (params.count == 0) return;
  simplify(params);
  device().launch(launcher_, params, batch.stream);
}

void simplify(StridedCopyParams& p) {
  int axes = 0;
  for (int axis = 0; axis < p.axes; ++axis) {
    if (p.extents[axis] == 1) continue;
    const bool follows = axes > 0 && p.x_strides[axes - 1] == p.extents[axis] * p.x_strides[axis] &&
                         p.y_strides[axes - 1] == p.extents[axis] * p.y_strides[axis];
    const int at = follows ? axes - 1 : axes++;
    p.extents[at] = follows ? p.extents[at] * p.extents[axis] : p.extents[axis];
    p.x_strides[at] = p.x_strides[axis];
    p.y_strides[at] = p.y_strides[axis];
  }
  p.axes = axes;
  if (axes == 0 || p.x_strides[axes - 1] != 1 || p.y_strides[axes - 1] != 1) return;
  const auto suits = [&](int64_t pieces) {  // of so many elements each
    const int64_t bytes = pieces * p.element_bytes;
    bool whole = p.extents[axes - 1] % pieces == 0 && reinterpret_cast<uintptr_t>(p.x) % static_cast<uintptr_t>(bytes) == 0 &&
                 reinterpret_cast<uintptr_t>(p.y) % static_cast<uintptr_t>(bytes) == 0;
    for (int axis = 0; axis + 1 < axes; ++axis)
      whole = whole && p.x_strides[axis] % pieces == 0 && p.y_strides[axis] % pieces == 0;
    return whole;
  };
  int64_t pieces = 16 / p.element_bytes;
  while (pieces > 1 && !suits(pieces)) pieces /= 2;
  p.element_bytes *= static_cast<int32_t>(pieces);
  p.count /= pieces;
  p.extents[axes - 1] /= pieces;
  for (int axis = 0; axis + 1 < axes; ++axis) {
    p.x_strides[axis] /= pieces;
    p.y_strides[axis] /= pieces;
  }
}

}  // namespace bertie::cuda
