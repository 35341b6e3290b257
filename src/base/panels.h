// Weights [n, k] in panels of sixteen rows, TensorLayout::panels_16: what an engine file keeps and the GEMM reads in place.
//
//   panels[p][i][c] = weight[16 * p + c][i], 0 where 16 * p + c >= n; f32
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bertie/tensor.h"

namespace bertie {

inline constexpr int64_t kPanelWidth = 16;

inline int64_t panel_count(int64_t n) { return (n + kPanelWidth - 1) / kPanelWidth; }
inline size_t panel_bytes(const Shape& shape) {
  return static_cast<size_t>(panel_count(shape[0]) * shape[1] * kPanelWidth) * sizeof(float);
}

// Lines [first, last) of the panels, sixteen floats each: line p * k + i holds panels[p][i]. `weight`: [n, k], f32, f16 or bf16.
void pack_panel_lines(const TensorView& weight, int64_t first, int64_t last, float* lines);

// `rows`: [n, k], row-major.
void unpack_panels(const float* panels, const Shape& shape, std::span<float> rows);

}  // namespace bertie
