// Weights [n, k] of the file's own dtype to float32 panels of sixteen columns: sixteen rows of W turned on their side.
#include "cpu/kernels/gemm.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

template <WeightType type>
struct Source;
template <>
struct Source<WeightType::f32> {
  using Element = float;
  static Vec16 read(const float* p) { return load(p); }
  static Vec16 read_partial(const float* p, int64_t count) { return load_partial(p, count); }
};
template <>
struct Source<WeightType::f16> {
  using Element = uint16_t;
  static Vec16 read(const uint16_t* p) { return load_f16(p); }
  static Vec16 read_partial(const uint16_t* p, int64_t count) { return load_f16_partial(p, count); }
};
template <>
struct Source<WeightType::bf16> {
  using Element = uint16_t;
  static Vec16 read(const uint16_t* p) { return load_bf16(p); }
  static Vec16 read_partial(const uint16_t* p, int64_t count) { return load_bf16_partial(p, count); }
};

template <WeightType type>
void pack(const GemmWeight& weight, int64_t panel_begin, int64_t panel_end, int64_t k_begin, int64_t k_end, float* panels,
          int64_t panel_stride) {
  using Element = typename Source<type>::Element;
  const Element* data = static_cast<const Element*>(weight.data);
  const int64_t to_next_panel = kGemmPanel * weight.k;
  for (int64_t panel = panel_begin; panel < panel_end; ++panel, panels += panel_stride) {
    const int64_t first = panel * kGemmPanel, present = min(kGemmPanel, weight.n - first);
    for (int64_t k = k_begin; k < k_end; k += 16) {
      const Element* from = data + first * weight.k + k;
      float* to = panels + (k - k_begin) * kGemmPanel;
      const int64_t depth = min(16, k_end - k);
      Vec16 square[16];
      if (present == 16 && depth == 16) {
#pragma GCC unroll 16
        for (int64_t r = 0; r < 16; ++r) {
          prefetch_l2(from + r * weight.k + to_next_panel);  // rows are too short for the hardware to run ahead
          square[r] = Source<type>::read(from + r * weight.k);
        }
        transpose(square);
#pragma GCC unroll 16
        for (int64_t i = 0; i < 16; ++i) store(to + i * kGemmPanel, square[i]);
      } else {
        for (int64_t r = 0; r < 16; ++r)
          square[r] = r < present ? Source<type>::read_partial(from + r * weight.k, depth) : zero();
        transpose(square);
        for (int64_t i = 0; i < depth; ++i) store(to + i * kGemmPanel, square[i]);
      }
    }
  }
}

}  // namespace

void pack_panels(const GemmWeight& weight, int64_t panel_begin, int64_t panel_end, int64_t k_begin, int64_t k_end, float* panels,
                 int64_t panel_stride) {
  switch (weight.type) {
    case WeightType::f32: return pack<WeightType::f32>(weight, panel_begin, panel_end, k_begin, k_end, panels, panel_stride);
    case WeightType::f16: return pack<WeightType::f16>(weight, panel_begin, panel_end, k_begin, k_end, panels, panel_stride);
    case WeightType::bf16: return pack<WeightType::bf16>(weight, panel_begin, panel_end, k_begin, k_end, panels, panel_stride);
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
