// The inner loops of the cpu backend, one table per instruction set; cpu/isa.h says which one this machine runs.
//
// To add one: a file pair x.{h,cc} in this folder. x.h declares the arguments in bertie::cpu and, under `#ifdef BERTIE_ISA`, the
// function in bertie::cpu::BERTIE_ISA; isa_kernels.cc puts its address into the table below. vec.h states the rules.
#pragma once

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/peak.h"

namespace bertie::cpu {

struct IsaKernels {
  // gemm.h
  void (*gemm)(const GemmProblem& problem, const GemmRange& range, float* scratch);
  int64_t (*gemm_panels_at_once)(int64_t rows);
  void (*pack_panels)(const GemmWeight& weight, int64_t panel_begin, int64_t panel_end, int64_t k_begin, int64_t k_end, float* panels,
                      int64_t panel_stride);
  // peak.h
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
