// CPUID itself, as GCC 12 and clang 14 do not know all names in __builtin_cpu_supports.
#include "cpu/cpuid.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bertie::cpu {
namespace {

#if defined(__x86_64__)
struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};
// Zeros where the processor has no such leaf.
Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}
constexpr bool has(unsigned word, int bit) { return (word >> bit & 1) != 0; }

// Register files that the operating system saves, a bit each.
uint64_t saved_registers() {
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

// Linux gives the 8 KB of tile registers to processes that ask for them.
bool granted_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

CpuFeatures ask() {
  constexpr uint64_t kVectors = 0x6, kWideVectors = kVectors | 0xe0, kTiles = 3 << 17;
  CpuFeatures found;
  const Registers one = cpuid(1), seven = cpuid(7), seven_one = cpuid(7, 1);
  if (!has(one.c, 27)) return found;  // OSXSAVE: without it there is no XGETBV
  const uint64_t saved = saved_registers();
  const auto saves = [saved](uint64_t registers) { return (saved & registers) == registers; };
  found.avx2 = saves(kVectors) && has(one.c, 28) && has(seven.b, 5) && has(one.c, 12) && has(one.c, 29);  // AVX, AVX2, FMA, F16C
  found.avx_vnni = found.avx2 && has(seven_one.a, 4);
  found.avx512 =
      found.avx2 && saves(kWideVectors) && has(seven.b, 16) && has(seven.b, 17) && has(seven.b, 30) && has(seven.b, 31);
  found.avx512_vnni = found.avx512 && has(seven.c, 11);
  found.avx512_bf16 = found.avx512_vnni && has(seven_one.a, 5);
  // The kernels count on eight tiles of 16 rows of 64 bytes (palette 1).
  const Registers palette = cpuid(0x1d, 1);
  const bool tiles = palette.b >> 16 >= 8 && (palette.b & 0xffff) >= 64 && (palette.c & 0xffff) >= 16;
  found.amx =
      found.avx512_bf16 && saves(kTiles) && has(seven.d, 24) && has(seven.d, 22) && has(seven.d, 25) && tiles && granted_tiles();
  return found;
}
#else
CpuFeatures ask() { return {}; }
#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = ask();
  return features;
}

}  // namespace bertie::cpu
