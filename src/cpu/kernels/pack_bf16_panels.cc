#include "cpu/kernels/bf16_finish.h"

namespace bertie::cpu::BERTIE_ISA {

void pack_bf16_panels(const GemmWeight& weight, int64_t begin, int64_t end, uint16_t* panels) {
  const int64_t n = weight.n, k = weight.k;
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t row = panel * kGemmPanel, present = min(kGemmPanel, n - row);
    for (int64_t i = 0; i < k; i += kBf16DepthStep, panels += kGemmPanel * kBf16DepthStep) {
      alignas(64) uint16_t lines[kGemmPanel][kBf16DepthStep] = {};
      for (int64_t c = 0; c < present; ++c) {
        bf16_row(weight.type, weight.data, (row + c) * k + i, min(kBf16DepthStep, k - i), kBf16DepthStep, lines[c]);
      }
      Vec16 square[16];  // a pair of k a lane
      __builtin_memcpy(square, lines, sizeof square);
      transpose(square);
      __builtin_memcpy(panels, square, sizeof square);
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
