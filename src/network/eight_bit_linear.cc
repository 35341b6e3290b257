#include "network/eight_bit_linear.h"

namespace bertie {

void infer_eight_bit_linear(OpContext& context, DType element) {
  const SymbolicShape& x = context.shape(kEightBitX);
  const std::string_view type = dtype_name(element);
  context.require(context.dtype(kEightBitX) == element, fmt::format("x of {}", type));
  context.require(context.dtype(kEightBitWeight) == element, fmt::format("a weight of {}", type));
  context.require_rank(kEightBitWeight, 2);
  const Dim &rows = context.shape(kEightBitWeight)[0], &columns = context.shape(kEightBitWeight)[1];
  context.require(context.last_dim(kEightBitX) == columns, "x [..., K] and weight [N, K] of one K");
  const SymbolicShape& scale = context.shape(kEightBitXScale);
  context.require_float(kEightBitXScale);
  context.require(scale.empty() || scale == SymbolicShape(x.begin(), x.end() - 1), "a scale for x or for each of its rows");
  context.require_vector(kEightBitWeightScale, rows);
  if (context.has(kEightBitBias)) context.require_vector(kEightBitBias, rows);
  context.require_one_of("activation", context.node().text("activation", "none"),
                         {"none", "gelu", "gelu_tanh", "relu", "silu", "tanh"});
  SymbolicShape shape = x;
  shape.back() = rows;
  if (context.has(kEightBitResidual)) {
    context.require_float(kEightBitResidual);
    context.require(context.shape(kEightBitResidual) == shape, "a residual of the result's shape");
  }
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
