// linear on eight-bit integers: activation(fma(x weight^T, x_scale * weight_scale, bias)) + residual, the product exact (src/quant/int8.h).
#include "network/quantized_output.h"

namespace bertie {
namespace {

enum Input : size_t { kX, kXScale, kWeight, kWeightScale, kBias, kResidual };

void infer(OpContext& context) {
  const SymbolicShape& x = context.shape(kX);
  context.require(context.dtype(kX) == DType::i8, "x of i8");
  context.require(context.dtype(kWeight) == DType::i8, "a weight of i8");
  context.require_rank(kWeight, 2);
  const Dim &rows = context.shape(kWeight)[0], &columns = context.shape(kWeight)[1];
  context.require(context.last_dim(kX) == columns, "x [..., K] and weight [N, K] of one K");
  const SymbolicShape& scale = context.shape(kXScale);
  context.require_float(kXScale);
  context.require(scale.empty() || scale == SymbolicShape(x.begin(), x.end() - 1), "a scale for x or for each of its rows");
  context.require_vector(kWeightScale, rows);
  if (context.has(kBias)) context.require_vector(kBias, rows);
  context.require_one_of("activation", context.node().text("activation", "none"),
                         {"none", "gelu", "gelu_tanh", "relu", "silu", "tanh"});
  SymbolicShape shape = x;
  shape.back() = rows;
  if (context.has(kResidual)) {
    context.require_float(kResidual);
    context.require(context.shape(kResidual) == shape, "a residual of the result's shape");
  }
  const QuantizedOutput output(context.node());
  context.require(!output.floats || !output.integers, "floats or integers as its result");
  output_rows(context, shape);
}

}  // namespace

const OpDescriptor& int8_linear_op() {
  static const OpDescriptor op{"int8_linear",
                               4,
                               {"x", "x_scale", "weight", "weight_scale", "bias", "residual", "quantization"},
                               {"activation", "quantize_output"},
                               infer};
  return op;
}

}  // namespace bertie
