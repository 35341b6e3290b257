// What the processor has and the operating system lets a process use.
#pragma once

namespace bertie::cpu {

// Each is false where the operating system does not save the registers that it needs.
struct CpuFeatures {
  bool avx2 = false;         // AVX2, FMA and F16C
  bool avx_vnni = false;     // eight-bit products in 256-bit registers
  bool avx512 = false;       // F, BW, VL and DQ
  bool avx512_vnni = false;  // eight-bit products in 512-bit registers
  bool avx512_bf16 = false;
  bool amx = false;  // tiles with bfloat16 and eight-bit products; the process has been granted their use
};

// Asked once. The first call asks Linux for the use of AMX tiles, for all threads of the process.
const CpuFeatures& cpu_features();

}  // namespace bertie::cpu
