#include "network/linear_skip_layer_norm.h"

#include "network/linear_shape.h"

namespace bertie {
namespace {

SymbolicShape shape_of_floats(const OpContext& context) {
  context.require(is_float(context.dtype(kLinearX)), "x floating, of i8 or of u8");
  context.require_float(kLinearWeight);
  return linear_shape(context, kLinearX, kLinearWeight, kLinearBias);
}

void infer_linear_skip_layer_norm(OpContext& context) {
  for (const size_t input : {size_t{kLinearWeight}, size_t{kLinearResidual}, size_t{kLinearGamma}, size_t{kLinearBeta}})
    context.require(context.has(input), "weight, residual, gamma and beta");
  const DType element = context.dtype(kLinearX);
  const bool eight_bits = element == DType::i8 || element == DType::u8;
  context.require(context.has(kLinearXScale) == eight_bits && context.has(kLinearWeightScale) == eight_bits,
                  "x_scale and weight_scale where x has eight bits, and only there");
  const SymbolicShape shape = eight_bits ? eight_bit_linear_shape(context, element) : shape_of_floats(context);
  require_residual(context, shape);
  context.require_vector(kLinearGamma, shape.back());
  context.require_vector(kLinearBeta, shape.back());
  output_rows(context, shape);
}

}  // namespace

const OpDescriptor& linear_skip_layer_norm_op() {
  static const OpDescriptor op{"linear_skip_layer_norm",
                               kLinearBeta + 1,
                               {"x", "x_scale", "weight", "weight_scale", "bias", "residual", "gamma", "beta", "quantization"},
                               {"epsilon", "quantize_output", "quantize_element"},
                               infer_linear_skip_layer_norm};
  return op;
}

}  // namespace bertie
