#include "cpu/kernels/int8_gemm.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

void pack_int8_panels(const int8_t* weight, int64_t n, int64_t k, int64_t begin, int64_t end, int8_t* panels) {
  for (int64_t panel = begin; panel < end; ++panel) {
    const int64_t row = panel * kGemmPanel, present = min(kGemmPanel, n - row);
    for (int64_t i = 0; i < k; i += kInt8DepthStep, panels += kGemmPanel * kInt8DepthStep) {
      const int64_t depth = min(kInt8DepthStep, k - i);
      Vec16 square[16];
      for (int64_t c = 0; c < 16; ++c) {
        int8_t bytes[kInt8DepthStep] = {};
        if (c < present) __builtin_memcpy(bytes, weight + (row + c) * k + i, static_cast<size_t>(depth));
        __builtin_memcpy(&square[c], bytes, sizeof bytes);
      }
      transpose(square);
      __builtin_memcpy(panels, square, sizeof square);
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
