// Weights [n, k] in panels of sixteen rows: what an engine file keeps and the GEMM reads in place.
//
//   TensorLayout::panels_16, floats:  panels[p][i][c] = weight[16 * p + c][i], f32, f16 or bf16
//   TensorLayout::panels_16x4, i8:    panels[p][i][c][j] = weight[16 * p + c][4 * i + j], i below K / 4, K: k rounded up to 64
//
// 0 where there is no such row or column. One layout of each kind for all instruction sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bertie/tensor.h"

namespace bertie {

inline constexpr int64_t kPanelWidth = 16;

inline int64_t panel_count(int64_t n) { return (n + kPanelWidth - 1) / kPanelWidth; }
inline size_t panel_bytes(DType dtype, const Shape& shape) {
  return static_cast<size_t>(panel_count(shape[0]) * shape[1] * kPanelWidth) * dtype_size(dtype);
}

inline constexpr int64_t kInt8PanelDepth = 64;

inline int64_t int8_panel_depth(int64_t k) { return (k + kInt8PanelDepth - 1) / kInt8PanelDepth * kInt8PanelDepth; }
inline size_t int8_panel_bytes(const Shape& shape) {
  return static_cast<size_t>(panel_count(shape[0]) * int8_panel_depth(shape[1]) * kPanelWidth);
}

// Lines [first, last) of the panels, sixteen elements each: line p * k + i holds panels[p][i]. `weight`: [n, k], f32, f16 or bf16.
void pack_panel_lines(const TensorView& weight, int64_t first, int64_t last, void* lines);

// `rows`: [n, k], row-major, of the panels' dtype.
void unpack_panels(const void* panels, DType dtype, const Shape& shape, void* rows);

// Lines of 64 bytes each: line p * K / 4 + i holds panels[p][i]. `weight`: [n, k], i8.
void pack_int8_panel_lines(const TensorView& weight, int64_t first, int64_t last, int8_t* lines);

// `rows`: [n, k], row-major.
void unpack_int8_panels(const int8_t* panels, const Shape& shape, std::span<int8_t> rows);

}  // namespace bertie
