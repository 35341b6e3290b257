// Which instruction set the cpu backend runs, found at run time.
#pragma once

#include <span>
#include <string_view>

#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu {

// A value of the environment variable BERTIE_ISA, from the plainest to the widest:
//
//   generic
//   avx2         256-bit vectors, FMA            avx2_vnni    and AVX-VNNI's eight-bit products
//   avx512       512-bit vectors                 avx512_vnni  and eight-bit products
//   avx512_bf16  and bfloat16 products           amx          and tiles: of bfloat16, of float32 as three of them, of eight bits
//
// generic, avx2 and avx512 are tables of their own; each of the others is the table before it (avx2_vnni: avx2; avx512_vnni:
// avx512) with some kernels replaced (kernels/derived_isa.cc).
struct Isa {
  std::string_view name;
  std::string_view vectors;  // the set whose vector code it runs: "generic", "avx2", "avx512"
  const IsaKernels* kernels;
};

// Those that this CPU and operating system can run, from the plainest to the widest.
std::span<const Isa> available_isas();

// The available one of this name, or nullptr.
const Isa* find_isa(std::string_view name);

// The same. Throws Error(unsupported).
const Isa& isa_named(std::string_view name);

// The one named by BERTIE_ISA, or the widest. Throws Error(invalid_argument) where BERTIE_ISA names an unknown one,
// Error(unsupported) where this machine lacks it.
const Isa& active_isa();

}  // namespace bertie::cpu
