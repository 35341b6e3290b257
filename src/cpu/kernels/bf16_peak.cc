// Written out, as kernels/int8_peak.cc is. Registers hold what they happen to hold.
#include "cpu/kernels/amx_tiles.h"
#include "cpu/kernels/peak.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

int64_t bf16_peak(int64_t rounds) {
#if defined(BERTIE_AMX)
  configure_tiles(kTileRows);
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  constexpr int64_t kProducts = 4 * 16 * 16 * 32;
#else
#define STEP(n) "vdpbf16ps %%zmm30, %%zmm31, %%zmm" #n "\n\t"
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile(STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11) STEP(12)
                     STEP(13) STEP(14) STEP(15)::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                           "xmm12", "xmm13", "xmm14", "xmm15");
  }
  constexpr int64_t kProducts = 16 * 32;
#endif
  return rounds * kProducts * 2;
}

#if defined(BERTIE_AMX)
// Six products of bfloat16 make one of float32.
int64_t f32_peak(int64_t rounds, float* sink) {
  *sink = 0;
  return bf16_peak(3 * rounds) / 6;
}
#endif

}  // namespace bertie::cpu::BERTIE_ISA
