// The inner loops of the cpu backend, one table per instruction set; cpu/isa.h says which one this machine runs.
//
// To add one: a file pair x.{h,cc} in this folder. x.h declares the arguments in bertie::cpu and, under `#ifdef BERTIE_ISA`, the
// function in bertie::cpu::BERTIE_ISA; isa_kernels.cc puts its address into the table below. vec.h states the rules.
#pragma once

#include "cpu/kernels/peak.h"

namespace bertie::cpu {

struct IsaKernels {
  int64_t (*fma_peak)(int64_t rounds, float* sink);
};

namespace generic {
extern const IsaKernels kKernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const IsaKernels kKernels;
}
namespace avx512 {
extern const IsaKernels kKernels;
}
#endif

}  // namespace bertie::cpu
