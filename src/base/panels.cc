#include "base/panels.h"

#include <algorithm>
#include <cstring>

namespace bertie {
namespace {

template <typename T>
void pack_lines(const TensorView& weight, int64_t first, int64_t last, T* lines) {
  const int64_t n = weight.shape[0], k = weight.shape[1];
  const T* data = weight.as<T>();
  for (int64_t line = first; line < last;) {
    const int64_t panel = line / k, begin = line % k, end = std::min(k, begin + last - line);
    const int64_t row = panel * kPanelWidth, present = std::min(kPanelWidth, n - row);
    for (int64_t i = begin; i < end; ++i, lines += kPanelWidth) {
      for (int64_t c = 0; c < present; ++c) lines[c] = data[(row + c) * k + i];
      std::fill(lines + present, lines + kPanelWidth, T{0});
    }
    line += end - begin;
  }
}

template <typename T>
void unpack(const T* panels, const Shape& shape, T* rows) {
  const int64_t n = shape[0], k = shape[1];
  if (k == 0) return;  // there are no panels to point into
  for (int64_t row = 0; row < n; ++row) {
    const T* column = panels + row / kPanelWidth * k * kPanelWidth + row % kPanelWidth;
    for (int64_t i = 0; i < k; ++i) rows[row * k + i] = column[i * kPanelWidth];
  }
}

}  // namespace

void pack_panel_lines(const TensorView& weight, int64_t first, int64_t last, void* lines) {
  if (dtype_size(weight.dtype) == sizeof(float)) return pack_lines(weight, first, last, static_cast<float*>(lines));
  pack_lines(weight, first, last, static_cast<uint16_t*>(lines));
}

void unpack_panels(const void* panels, DType dtype, const Shape& shape, void* rows) {
  if (dtype_size(dtype) == sizeof(float)) return unpack(static_cast<const float*>(panels), shape, static_cast<float*>(rows));
  unpack(static_cast<const uint16_t*>(panels), shape, static_cast<uint16_t*>(rows));
}

void pack_int8_panel_lines(const TensorView& weight, int64_t first, int64_t last, int8_t* lines) {
  const int64_t n = weight.shape[0], k = weight.shape[1], lines_a_panel = int8_panel_depth(k) / 4;
  const int8_t* data = weight.as<int8_t>();
  for (int64_t line = first; line < last; ++line) {
    const int64_t row = line / lines_a_panel * kPanelWidth, column = line % lines_a_panel * 4;
    const auto present = static_cast<size_t>(std::clamp<int64_t>(k - column, 0, 4));
    for (int64_t c = 0; c < kPanelWidth; ++c, lines += 4) {
      std::memset(lines, 0, 4);
      if (row + c < n && present > 0) std::memcpy(lines, data + (row + c) * k + column, present);
    }
  }
}

void unpack_int8_panels(const int8_t* panels, const Shape& shape, std::span<int8_t> rows) {
  const int64_t n = shape[0], k = shape[1];
  if (k == 0) return;  // there are no panels to point into
  for (int64_t row = 0; row < n; ++row) {
    const int8_t* column = panels + (row / kPanelWidth * int8_panel_depth(k) * kPanelWidth + row % kPanelWidth * 4);
    for (int64_t i = 0; i < k; ++i) rows[static_cast<size_t>(row * k + i)] = column[i / 4 * 4 * kPanelWidth + i % 4];
  }
}

}  // namespace bertie
