// Weights [n, k] of the file's own dtype to float32 panels of sixteen columns: sixteen rows of W turned on their side.
#include "cpu/kernels/gemm.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

template <FloatType type>
void pack(const GemmWeight& weight, int64_t panel_begin, int64_t panel_end, int64_t k_begin, int64_t k_end, float* panels,
          int64_t panel_stride) {
  constexpr int64_t kSize = type == FloatType::f32 ? 4 : 2;
  const char* data = static_cast<const char*>(weight.data);
  const int64_t to_next_panel = kGemmPanel * weight.k;
  for (int64_t panel = panel_begin; panel < panel_end; ++panel, panels += panel_stride) {
    const int64_t first = panel * kGemmPanel, present = min(kGemmPanel, weight.n - first);
    for (int64_t k = k_begin; k < k_end; k += 16) {
      const int64_t from = first * weight.k + k;
      float* to = panels + (k - k_begin) * kGemmPanel;
      const int64_t depth = min(16, k_end - k);
      Vec16 square[16];
      if (present == 16 && depth == 16) {
#pragma GCC unroll 16
        for (int64_t r = 0; r < 16; ++r) {
          prefetch_l2(data + (from + r * weight.k + to_next_panel) * kSize);  // rows are too short for the hardware to run ahead
          square[r] = read_floats<type>(data, from + r * weight.k, 16);
        }
        transpose(square);
#pragma GCC unroll 16
        for (int64_t i = 0; i < 16; ++i) store(to + i * kGemmPanel, square[i]);
      } else {
        for (int64_t r = 0; r < 16; ++r) square[r] = r < present ? read_floats<type>(data, from + r * weight.k, depth) : zero();
        transpose(square);
        for (int64_t i = 0; i < depth; ++i) store(to + i * kGemmPanel, square[i]);
      }
    }
  }
}

// Sixteen columns of a turned W, f32, lie side by side.
void pack_turned(const GemmWeight& weight, int64_t panel_begin, int64_t panel_end, int64_t k_begin, int64_t k_end, float* panels,
                 int64_t panel_stride) {
  for (int64_t panel = panel_begin; panel < panel_end; ++panel, panels += panel_stride) {
    const int64_t first = panel * kGemmPanel, present = min(kGemmPanel, weight.n - first);
    for (int64_t k = k_begin; k < k_end; ++k) {
      store(panels + (k - k_begin) * kGemmPanel, read_floats<FloatType::f32>(weight.data, k * weight.n + first, present));
    }
  }
}

}  // namespace

void pack_panels(const GemmWeight& weight, int64_t panel_begin, int64_t panel_end, int64_t k_begin, int64_t k_end, float* panels,
                 int64_t panel_stride) {
  if (weight.turned) return pack_turned(weight, panel_begin, panel_end, k_begin, k_end, panels, panel_stride);
  switch (weight.type) {
    case FloatType::f32: return pack<FloatType::f32>(weight, panel_begin, panel_end, k_begin, k_end, panels, panel_stride);
    case FloatType::f16: return pack<FloatType::f16>(weight, panel_begin, panel_end, k_begin, k_end, panels, panel_stride);
    case FloatType::bf16: return pack<FloatType::bf16>(weight, panel_begin, panel_end, k_begin, k_end, panels, panel_stride);
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
