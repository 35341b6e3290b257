// Weights [n, k] of the file's own dtype to panels of sixteen columns, in float32 or as they are: sixteen rows of W turned on their side.
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

void pack_half_panels(const GemmWeight& weight, int64_t begin, int64_t end, uint16_t* panels) {
  constexpr int64_t kDepth = 32;  // of k at once, two a lane
  const auto* const data = static_cast<const uint16_t*>(weight.data);
  const int64_t n = weight.n, k = weight.k, to_next_panel = kGemmPanel * k;
  for (int64_t panel = begin; panel < end; ++panel) {
    const uint16_t* const rows = data + panel * to_next_panel;
    const int64_t present = min(kGemmPanel, n - panel * kGemmPanel);
    for (int64_t i = 0; i < k; i += kDepth) {
      const int64_t depth = min(kDepth, k - i);
      alignas(64) uint16_t lines[kGemmPanel][kDepth];
      if (present < kGemmPanel || depth < kDepth) __builtin_memset(lines, 0, sizeof lines);
      for (int64_t c = 0; c < present; ++c) {
        prefetch_l2(rows + c * k + i + to_next_panel);
        if (depth == kDepth) {
          __builtin_memcpy(lines[c], rows + c * k + i, sizeof lines[c]);
        } else {
          __builtin_memcpy(lines[c], rows + c * k + i, static_cast<size_t>(depth) * sizeof(uint16_t));
        }
      }
      Vec16 square[16];
      __builtin_memcpy(square, lines, sizeof square);
      transpose(square);
      for (int64_t pair = 0; pair < depth; pair += 2, panels += 2 * kGemmPanel) {
        const IVec16 both = bits(square[pair / 2]);
        store_u16(panels, both);
        if (pair + 1 < depth) store_u16(panels + kGemmPanel, shift_right<16>(both));
      }
      if (depth % 2 != 0) panels -= kGemmPanel;
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
