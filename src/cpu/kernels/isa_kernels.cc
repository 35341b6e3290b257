#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu::BERTIE_ISA {

const IsaKernels kKernels = {
    .fma_peak = fma_peak,
};

}  // namespace bertie::cpu::BERTIE_ISA
