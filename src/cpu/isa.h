// Which instruction set the cpu backend runs, found at run time.
#pragma once

#include <span>
#include <string_view>

#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu {

struct Isa {
  std::string_view name;  // "generic", "avx2", "avx512": the values of the environment variable BERTIE_ISA
  const IsaKernels* kernels;
};

// Those that this CPU and operating system can run, from the plainest to the widest.
std::span<const Isa> available_isas();

// The available one of this name. Throws Error(unsupported).
const Isa& isa_named(std::string_view name);

// The one named by BERTIE_ISA, or the widest. Throws Error(invalid_argument) where BERTIE_ISA names an unknown one,
// Error(unsupported) where this machine lacks it.
const Isa& active_isa();

}  // namespace bertie::cpu
