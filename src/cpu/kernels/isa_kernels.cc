#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu::BERTIE_ISA {

const IsaKernels kKernels = {
    .gemm = gemm,
    .gemm_panels_at_once = gemm_panels_at_once,
    .pack_panels = pack_panels,
    .fma_peak = fma_peak,
};

}  // namespace bertie::cpu::BERTIE_ISA
