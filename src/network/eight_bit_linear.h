// What int8_linear and fp8_linear have in common: activation(fma(x weight^T, x_scale * weight_scale, bias)) + residual.
#pragma once

#include "network/quantized_output.h"

namespace bertie {

// Inputs of both, and the first of linear_skip_layer_norm.
enum ScaledLinearInput : size_t { kLinearX, kLinearXScale, kLinearWeight, kLinearWeightScale, kLinearBias, kLinearResidual };

// Checks x, weight and bias, x and weight being of `element`, and their scales; gives the result's shape.
SymbolicShape eight_bit_linear_shape(const OpContext& context, DType element);

// Where there is one.
void require_residual(const OpContext& context, const SymbolicShape& shape);

// x and weight are of `element`.
void infer_eight_bit_linear(OpContext& context, DType element);

OpDescriptor eight_bit_linear_op(std::string_view name, void (*infer)(OpContext&));

inline bool is_eight_bit_linear(const Node& node) { return node.op == "int8_linear" || node.op == "fp8_linear"; }

// Whose products are in eight bits.
inline bool is_eight_bit_attention(const Node& node) {
  const std::string precision = node.text("precision", "fp32");
  return node.op == "attention" && (precision == "int8" || precision == "fp8");
}

}  // namespace bertie
