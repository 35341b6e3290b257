#include "network/eight_bit_linear.h"

#include "network/linear_shape.h"

namespace bertie {

SymbolicShape eight_bit_linear_shape(const OpContext& context, DType element) {
  const std::string_view type = dtype_name(element);
  context.require(context.dtype(kLinearX) == element, fmt::format("x of {}", type));
  context.require(context.dtype(kLinearWeight) == element, fmt::format("a weight of {}", type));
  SymbolicShape shape = linear_shape(context, kLinearX, kLinearWeight, kLinearBias);
  const SymbolicShape& scale = context.shape(kLinearXScale);
  context.require_float(kLinearXScale);
  context.require(scale.empty() || scale == SymbolicShape(shape.begin(), shape.end() - 1),
                  "a scale for x or for each of its rows");
  context.require_vector(kLinearWeightScale, shape.back());
  return shape;
}

void require_residual(const OpContext& context, const SymbolicShape& shape) {
  if (!context.has(kLinearResidual)) return;
  context.require_float(kLinearResidual);
  context.require(context.shape(kLinearResidual) == shape, "a residual of the result's shape");
}

void infer_eight_bit_linear(OpContext& context, DType element) {
  const SymbolicShape shape = eight_bit_linear_shape(context, element);
  context.require_one_of("activation", context.node().text("activation", "none"),
                         {"none", "gelu", "gelu_tanh", "relu", "silu", "tanh"});
  require_residual(context, shape);
  const QuantizedOutput output(context.node());
  context.require(!output.floats || !output.integers, "floats or integers as its result");
  output_rows(context, shape);
}

OpDescriptor eight_bit_linear_op(std::string_view name, void (*infer)(OpContext&)) {
  return {name,
          4,
          {"x", "x_scale", "weight", "weight_scale", "bias", "residual", "quantization"},
          {"activation", "quantize_output", "quantize_element"},
          infer};
}

}  // namespace bertie
