// Elements of any dtype, and walks over broadcast, permuted and strided tensors.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "base/error.h"
#include "reference/kernel.h"

namespace bertie::reference {

// Calls function(std::type_identity<T>()) with the type that holds an element of an integer or bool tensor.
template <typename Function>
auto with_integer_type(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::i8: return function(std::type_identity<int8_t>());
    case DType::u8:
    case DType::boolean: return function(std::type_identity<uint8_t>());
    case DType::i32: return function(std::type_identity<int32_t>());
    default: return function(std::type_identity<int64_t>());
  }
}

// Truncated; what lies outside T takes T's nearest end, NaN 0 (ONNX leaves both open).
template <typename T>
T to_integer(double value) {
  constexpr double kEnd = -2.0 * static_cast<double>(std::numeric_limits<T>::min() / 2);  // 2^63 for i64; max() is not a double
  if (std::isnan(value)) return 0;
  if (value <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  if constexpr (std::is_signed_v<T>) {
    if (value >= kEnd) return std::numeric_limits<T>::max();
  } else {
    if (value >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  }
  return static_cast<T>(value);
}

// Calls body(copy), where copy(to, from) copies element `from` of the one tensor to element `to` of the other: the same bits where the
// dtypes are equal, else a float widened to f32.
template <typename Body>
void with_copy(const TensorView& from, const MutableTensorView& to, Body&& body) {
  const auto raw = [&](auto type) {
    using T = typename decltype(type)::type;
    body([in = from.as<T>(), out = to.as<T>()](int64_t target, int64_t source) { out[target] = in[source]; });
  };
  if (from.dtype != to.dtype) {
    with_floats(from, [&](auto* in) {
      body([in, out = to.as<float>()](int64_t target, int64_t source) { out[target] = static_cast<float>(widen(in[source])); });
    });
    return;
  }
  switch (dtype_size(from.dtype)) {
    case 1: return raw(std::type_identity<uint8_t>());
    case 2: return raw(std::type_identity<uint16_t>());
    case 4: return raw(std::type_identity<uint32_t>());
    default: return raw(std::type_identity<uint64_t>());
  }
}

// All elements in their order, from one tensor to another of as many.
void copy_elements(const TensorView& from, const MutableTensorView& to);

// How far apart, in elements, neighbours along each axis lie.
using Strides = std::array<int64_t, Shape::kMaxRank>;
Strides row_major_strides(const Shape& shape);
// Of a tensor of `shape` seen as one of shape `result` (NumPy's broadcasting): 0 along the axes it is repeated on.
Strides broadcast_strides(const Shape& shape, const Shape& result);

// body(index, offsets) for each place of `shape` in row-major order: its number, and its offset by each of the strides.
template <size_t N, typename Body>
void walk(const Shape& shape, const std::array<Strides, N>& strides, Body&& body) {
  const int64_t total = shape.elements();
  if (total == 0) return;
  const int last = shape.rank() - 1;
  const int64_t inner = last < 0 ? 1 : shape[last];
  std::array<int64_t, Shape::kMaxRank> place{};
  std::array<int64_t, N> row{};
  for (int64_t index = 0; index < total;) {
    std::array<int64_t, N> offsets = row;
    for (int64_t i = 0; i < inner; ++i) {
      body(index++, offsets);
      if (last >= 0) {
        for (size_t k = 0; k < N; ++k) offsets[k] += strides[k][static_cast<size_t>(last)];
      }
    }
    for (int axis = last - 1; axis >= 0; --axis) {
      const size_t at = static_cast<size_t>(axis);
      for (size_t k = 0; k < N; ++k) row[k] += strides[k][at];
      if (++place[at] < shape[axis]) break;
      for (size_t k = 0; k < N; ++k) row[k] -= strides[k][at] * shape[axis];
      place[at] = 0;
    }
  }
}

// body(index, offset), of one tensor.
template <typename Body>
void walk(const Shape& shape, const Strides& strides, Body&& body) {
  walk(shape, std::array<Strides, 1>{strides},
       [&](int64_t index, const std::array<int64_t, 1>& offsets) { body(index, offsets[0]); });
}

// A tensor seen as [outer, extent, inner] around one axis.
struct AxisView {
  int64_t outer = 1;
  int64_t extent = 1;
  int64_t inner = 1;
};
AxisView around_axis(const Shape& shape, int axis);

// An axis attribute counted from the front.
inline int axis_of(int64_t axis, int rank) { return static_cast<int>(axis < 0 ? axis + rank : axis); }

// An index into an axis, counted from the front. Throws Error(invalid_argument) naming the op where it is outside.
inline int64_t index_within(int64_t index, int64_t extent, const char* op) {
  if (index < -extent || index >= extent) fail(ErrorCode::invalid_argument, "{}: index {} of {}", op, index, extent);
  return index < 0 ? index + extent : index;
}

}  // namespace bertie::reference
