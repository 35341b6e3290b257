// What each derived instruction set replaces in its base's table; compiled for derived sets alone.
#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu::BERTIE_ISA {

void replace_kernels(IsaKernels& /*table*/) {}

}  // namespace bertie::cpu::BERTIE_ISA
