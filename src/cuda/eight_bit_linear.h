// What int8_linear and fp8_linear have in common.
#pragma once

#include "cuda/step.h"
#include "network/eight_bit_linear.h"

namespace bertie::cuda {

inline constexpr int kFp8Capability = 89;  // the least compute capability whose matrix units take e4m3

// Throws Refused for what no kernel takes.
void want_eight_bit_operands(Operands& operands);

// What a launch reads that the inputs of ScaledLinearInput say; scales are nullptr where they are left out.
template <typename Params>
void set_linear_operands(Params& params, const KernelContext& context, bool one_scale) {
  params.x = context.inputs[kLinearX].data;
  params.weight = context.inputs[kLinearWeight].data;
  if (context.inputs.size() > kLinearBias) params.bias = context.inputs[kLinearBias].as<float>();
  params.x_scale = context.inputs[kLinearXScale].as<float>();
  params.one_scale = one_scale;
  params.w_scale = context.inputs[kLinearWeightScale].as<float>();
  params.rows = row_count(context.inputs[kLinearX].shape);
  params.depth = context.inputs[kLinearX].shape.back();
}

}  // namespace bertie::cuda
