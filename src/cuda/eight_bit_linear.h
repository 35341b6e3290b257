// What int8_linear and fp8_linear have in common.
#pragma once

#include "cuda/step.h"
#include "network/eight_bit_linear.h"

namespace bertie::cuda {

// Throws Refused for what no kernel takes.
void want_eight_bit_operands(Operands& operands);

// What a launch reads that the inputs of EightBitLinearInput say; scales are nullptr where they are left out.
template <typename Params>
void set_linear_operands(Params& params, const KernelContext& context, bool one_scale) {
  params.x = context.inputs[kEightBitX].data;
  params.weight = context.inputs[kEightBitWeight].data;
  if (context.inputs.size() > kEightBitBias) params.bias = context.inputs[kEightBitBias].as<float>();
  params.x_scale = context.inputs[kEightBitXScale].as<float>();
  params.one_scale = one_scale;
  params.w_scale = context.inputs[kEightBitWeightScale].as<float>();
  params.rows = row_count(context.inputs[kEightBitX].shape);
  params.depth = context.inputs[kEightBitX].shape.back();
}

}  // namespace bertie::cuda
