// What int8_linear and fp8_linear have in common.
#pragma once

#include "cuda/step.h"
#include "network/eight_bit_linear.h"

namespace bertie::cuda {

// Throws Refused for what no kernel takes.
void want_eight_bit_operands(Operands& operands);

}  // namespace bertie::cuda
