#include "base/panels.h"

#include <algorithm>

#include "base/float16.h"

namespace bertie {
namespace {

float widened(float value) { return value; }
struct Float16 {
  uint16_t bits;
};
float widened(Float16 value) { return f16_to_float(value.bits); }
struct BFloat16 {
  uint16_t bits;
};
float widened(BFloat16 value) { return bf16_to_float(value.bits); }

template <typename T>
void pack_lines(const TensorView& weight, int64_t first, int64_t last, float* lines) {
  const int64_t n = weight.shape[0], k = weight.shape[1];
  const T* data = weight.as<T>();
  for (int64_t line = first; line < last;) {
    const int64_t panel = line / k, begin = line % k, end = std::min(k, begin + last - line);
    const int64_t row = panel * kPanelWidth, present = std::min(kPanelWidth, n - row);
    for (int64_t i = begin; i < end; ++i, lines += kPanelWidth) {
      for (int64_t c = 0; c < present; ++c) lines[c] = widened(data[(row + c) * k + i]);
      std::fill(lines + present, lines + kPanelWidth, 0.0f);
    }
    line += end - begin;
  }
}

}  // namespace

void pack_panel_lines(const TensorView& weight, int64_t first, int64_t last, float* lines) {
  switch (weight.dtype) {
    case DType::f16: return pack_lines<Float16>(weight, first, last, lines);
    case DType::bf16: return pack_lines<BFloat16>(weight, first, last, lines);
    default: return pack_lines<float>(weight, first, last, lines);
  }
}

void unpack_panels(const float* panels, const Shape& shape, std::span<float> rows) {
  const int64_t n = shape[0], k = shape[1];
  if (k == 0) return;  // there are no panels to point into
  for (int64_t row = 0; row < n; ++row) {
    const float* column = panels + row / kPanelWidth * k * kPanelWidth + row % kPanelWidth;
    for (int64_t i = 0; i < k; ++i) rows[static_cast<size_t>(row * k + i)] = column[i * kPanelWidth];
  }
}

}  // namespace bertie
