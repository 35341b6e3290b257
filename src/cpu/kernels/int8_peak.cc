// Written out, since a compiler saves itself products that it has seen. Registers hold what they happen to hold.
#include "cpu/kernels/amx_tiles.h"
#include "cpu/kernels/peak.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

int64_t int8_peak(int64_t rounds) {
#if defined(BERTIE_AMX)
  configure_tiles(kTileRows);
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
  constexpr int64_t kProducts = 4 * 16 * 16 * 64;
#elif defined(__AVX512VNNI__) || defined(__AVX512BW__)
#if defined(__AVX512VNNI__)
#define STEP(n) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #n "\n\t"
  constexpr int64_t kProducts = 16 * 64;
#else
#define STEP(n) "vpmaddwd %%zmm30, %%zmm31, %%zmm29\n\tvpaddd %%zmm29, %%zmm" #n ", %%zmm" #n "\n\t"
  constexpr int64_t kProducts = 16 * 32;
#endif
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile(STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11) STEP(12)
                     STEP(13) STEP(14) STEP(15)::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                           "xmm12", "xmm13", "xmm14", "xmm15", "xmm29");
  }
#elif defined(__AVX2__)
#if defined(__AVXVNNI__)
#define STEP(n) "%{vex%} vpdpbusd %%ymm14, %%ymm15, %%ymm" #n "\n\t"
  constexpr int64_t kProducts = 12 * 32;
#else
#define STEP(n) "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n\tvpaddd %%ymm13, %%ymm" #n ", %%ymm" #n "\n\t"
  constexpr int64_t kProducts = 12 * 16;
#endif
  for (int64_t round = 0; round < rounds; ++round) {
    asm volatile(STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11)::
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm13");
  }
#endif
#if defined(__AVX2__)
  return rounds * kProducts * 2;
#else
  float sink;
  return f32_peak(rounds, &sink);  // products are taken of floats
#endif
}

}  // namespace bertie::cpu::BERTIE_ISA
