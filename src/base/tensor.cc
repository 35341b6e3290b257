#include "bertie/tensor.h"

#include <cstring>

#include "base/error.h"
#include "base/panels.h"

namespace bertie {

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::f16: return "f16";
    case DType::bf16: return "bf16";
    case DType::f64: return "f64";
    case DType::i8: return "i8";
    case DType::u8: return "u8";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    case DType::boolean: return "bool";
  }
  return "?";
}

size_t dtype_size(DType dtype) {
  switch (dtype) {
    case DType::i8:
    case DType::u8:
    case DType::boolean: return 1;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::f32:
    case DType::i32: return 4;
    case DType::f64:
    case DType::i64: return 8;
  }
  return 0;
}

std::string_view layout_name(TensorLayout layout) {
  switch (layout) {
    case TensorLayout::rows: return "rows";
    case TensorLayout::panels_16: return "panels_16";
    case TensorLayout::panels_16x4: return "panels_16x4";
  }
  return "?";
}

Shape::Shape(std::span<const int64_t> extents) {
  if (extents.size() > kMaxRank) fail(ErrorCode::unsupported, "a shape of rank {}: at most {}", extents.size(), kMaxRank);
  rank_ = static_cast<int>(extents.size());
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int64_t extent : *this) product *= extent;
  return product;
}

std::string Shape::to_string() const { return fmt::format("[{}]", fmt::join(begin(), end(), ", ")); }

bool Shape::operator==(const Shape& other) const { return rank_ == other.rank_ && std::equal(begin(), end(), other.begin()); }

namespace {
template <typename T>
Tensor copied(DType dtype, const Shape& shape, std::span<const T> values) {
  if (shape.elements() != static_cast<int64_t>(values.size())) {
    fail(ErrorCode::invalid_argument, "a tensor of shape {} from {} values", shape.to_string(), values.size());
  }
  std::shared_ptr<T[]> storage(new T[values.size()]);
  std::copy(values.begin(), values.end(), storage.get());
  return {dtype, shape, std::shared_ptr<const void>(storage, storage.get())};
}
}  // namespace

TensorView Tensor::view() const {
  if (layout != TensorLayout::rows)
    fail(ErrorCode::invalid_argument, "a tensor in {} has no row-major view: see Tensor::row_major", layout_name(layout));
  return {data.get(), dtype, shape};
}

size_t Tensor::bytes() const {
  switch (layout) {
    case TensorLayout::panels_16: return panel_bytes(dtype, shape);
    case TensorLayout::panels_16x4: return int8_panel_bytes(shape);
    case TensorLayout::rows: break;
  }
  return static_cast<size_t>(shape.elements()) * dtype_size(dtype);
}

Tensor Tensor::row_major() const {
  if (layout == TensorLayout::rows) return *this;
  const size_t elements = static_cast<size_t>(shape.elements());
  if (layout == TensorLayout::panels_16x4) {
    std::shared_ptr<int8_t[]> rows(new int8_t[elements]);
    unpack_int8_panels(static_cast<const int8_t*>(data.get()), shape, {rows.get(), elements});
    return {DType::i8, shape, std::shared_ptr<const void>(rows, rows.get())};
  }
  std::shared_ptr<std::byte[]> rows(new std::byte[elements * dtype_size(dtype)]);
  unpack_panels(data.get(), dtype, shape, rows.get());
  return {dtype, shape, std::shared_ptr<const void>(rows, rows.get())};
}

Tensor Tensor::from_floats(const Shape& shape, std::span<const float> values) { return copied(DType::f32, shape, values); }
Tensor Tensor::from_int64s(const Shape& shape, std::span<const int64_t> values) { return copied(DType::i64, shape, values); }

}  // namespace bertie
