// Element types, shapes and views of dense row-major tensors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "bertie/base.h"

namespace bertie {

enum class DType : uint8_t { f32, f16, bf16, f64, i8, u8, i32, i64, boolean };

BERTIE_API std::string_view dtype_name(DType dtype);  // "f32", "bf16", ...
BERTIE_API size_t dtype_size(DType dtype);            // bytes

// How a tensor's elements lie in memory. All are row-major but the weights of a model that came from an engine file.
enum class TensorLayout : uint8_t {
  rows,         // row-major
  panels_16,    // [n, k] f32, f16 or bf16 as [ceil(n / 16)][k][16]: sixteen rows side by side, zeros where n ends within a panel
  panels_16x4,  // [n, k] i8 as [ceil(n / 16)][K / 4][16][4]: four of k at a time; K is k rounded up to 64, zeros behind the ends
};

BERTIE_API std::string_view layout_name(TensorLayout layout);  // "rows", "panels_16", "panels_16x4"

// Up to eight extents, held in place: making one never allocates.
class BERTIE_API Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}
  // Throws Error(unsupported) where there are more than kMaxRank extents.
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return extents_[static_cast<size_t>(axis)]; }
  int64_t& operator[](int axis) { return extents_[static_cast<size_t>(axis)]; }
  int64_t back() const { return extents_[static_cast<size_t>(rank_ - 1)]; }
  const int64_t* begin() const { return extents_.data(); }
  const int64_t* end() const { return extents_.data() + rank_; }
  int64_t elements() const;       // the product; 1 for rank 0
  std::string to_string() const;  // "[2, 128, 384]"
  bool operator==(const Shape& other) const;

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

// Borrowed, read-only.
struct TensorView {
  const void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  size_t bytes() const { return static_cast<size_t>(shape.elements()) * dtype_size(dtype); }
};

// Borrowed, writable.
struct MutableTensorView {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;

  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  operator TensorView() const { return {data, dtype, shape}; }
};

// Shared, immutable: the bytes live as long as any copy (they may lie in a mapped file).
struct BERTIE_API Tensor {
  DType dtype = DType::f32;
  Shape shape;
  std::shared_ptr<const void> data;
  TensorLayout layout = TensorLayout::rows;

  // Throws Error(invalid_argument) where the layout is not row-major.
  TensorView view() const;
  size_t bytes() const;  // as they lie in memory
  // This tensor where it is row-major, else a copy that is.
  Tensor row_major() const;

  // Copies `values`; their count must be the shape's. Throws Error(invalid_argument).
  static Tensor from_floats(const Shape& shape, std::span<const float> values);
  static Tensor from_int64s(const Shape& shape, std::span<const int64_t> values);
};

}  // namespace bertie
