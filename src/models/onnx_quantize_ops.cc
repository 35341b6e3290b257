// ONNX ops of quantised graphs.
#include <cmath>

#include "models/onnx_fused.h"
#include "models/onnx_node.h"
#include "network/element.h"
#include "network/op.h"

namespace bertie::models {
namespace {

// Scales that are known: finite and above 0. Integers of scale 0 are floats of 0, as of a row of zeros, but nothing becomes such integers.
void require_scales(OnnxNode& node, ValueId scale, bool zero_too) {
  if (node.rank(scale) > 1) node.refuse("a scale for each block");
  const auto& constant = node.network().value(scale).constant;
  if (!constant || !is_float(constant->dtype)) return;
  for (int64_t i = 0; i < constant->shape.elements(); ++i) {
    const double number = element(constant->view(), i);
    if (std::isfinite(number) && (number > 0 || (number == 0 && zero_too))) continue;
    node.contradict("scale '{}' is {}: it must be finite and above 0", node.network().value(scale).name, number);
  }
}

void quantize_linear(OnnxNode& node, std::string_view) {
  node.expect("block_size", 0);
  node.ignore({"saturate", "precision"});  // of eight-bit floats; of the quotient, which is f32 here
  node.require_float(0);
  const ValueId scale = node.input(1);
  require_scales(node, scale, false);
  Attributes attributes{{"axis", node.integer("axis", 1)}};
  if (const int64_t number = node.integer("output_dtype", 0); number != 0) {
    const auto to = onnx::dtype_of_number(number);
    if (to != DType::i8 && to != DType::u8) node.refuse("to element type {}", onnx::type_name(number));
    attributes["to"] = std::string(dtype_name(*to));
  }
  node.output(0, node.make("quantize_linear", {node.input(0), scale, node.optional_input(2)}, std::move(attributes)));
}

void dequantize_linear(OnnxNode& node, std::string_view) {
  node.expect("block_size", 0);
  node.ignore({"output_dtype"});  // the scale's: a float of some width
  const ValueId scale = node.input(1);
  require_scales(node, scale, true);
  node.output(
      0, node.make("dequantize_linear", {node.input(0), scale, node.optional_input(2)}, {{"axis", node.integer("axis", 1)}}));
}

void dynamic_quantize_linear(OnnxNode& node, std::string_view) {
  const auto results = node.make_all("dynamic_quantize_linear", {node.input(0)});
  for (size_t i = 0; i < results.size(); ++i) node.output(i, results[i]);
}

void matmul_integer(OnnxNode& node, std::string_view) {
  const ValueId a = node.input(0);
  const ValueId b = node.input(1);
  if (node.rank(a) < 2 || node.rank(b) < 2) node.refuse("a vector");
  node.output(0, node.make("matmul_integer", {a, b, node.optional_input(2), node.optional_input(3)}));
}

void qlinear_matmul(OnnxNode& node, std::string_view) {
  const ValueId product = node.make("matmul_integer", {node.input(0), node.input(3), node.input(2), node.input(5)});
  const ValueId scale = node.elementwise("mul", node.input(1), node.input(4));
  const ValueId y = node.elementwise("mul", node.cast(product, DType::f32), scale);
  node.output(0, node.make("quantize_linear", {y, node.input(6), node.input(7)}));
}

// (float(product) * scale) + bias
ValueId rescaled(OnnxNode& node, ValueId product, ValueId a_scale, ValueId b_scale, ValueId bias) {
  const ValueId scale = node.elementwise("mul", a_scale, b_scale);
  const ValueId y = node.elementwise("mul", node.cast(product, DType::f32), scale);
  return bias == kNone ? y : node.elementwise("add", y, bias);
}

void matmul_integer_to_float(OnnxNode& node, std::string_view) {
  const ValueId product =
      node.make("matmul_integer", {node.input(0), node.input(1), node.optional_input(4), node.optional_input(5)});
  node.output(0, rescaled(node, product, node.input(2), node.input(3), node.optional_input(6)));
}

void dynamic_quantize_matmul(OnnxNode& node, std::string_view) {
  const auto a = node.make_all("dynamic_quantize_linear", {node.input(0)});
  const ValueId product = node.make("matmul_integer", {a[0], node.input(1), a[2], node.optional_input(3)});
  node.output(0, rescaled(node, product, a[1], node.input(2), node.optional_input(4)));
}

// Inputs: x, weight, bias, x's scale, weight's scale, mask?, x's zero point?, weight's zero point?.
void quantized_attention(OnnxNode& node, std::string_view) {
  const ValueId product =
      node.make("matmul_integer", {node.input(0), node.input(1), node.optional_input(6), node.optional_input(7)});
  HeadAttention attention = attention_attributes(node);
  attention.mask = node.optional_input(5);
  const ValueId qkv = rescaled(node, product, node.input(3), node.input(4), node.input(2));
  node.output(0, attention_of_packed(node, qkv, attention));
}

}  // namespace

std::span<const OnnxOp> onnx_quantize_ops() {
  static constexpr OnnxOp kOps[] = {
      {"QuantizeLinear", 10, quantize_linear},
      {"DequantizeLinear", 10, dequantize_linear},
      {"DynamicQuantizeLinear", 11, dynamic_quantize_linear},
      {"MatMulInteger", 10, matmul_integer},
      {"QLinearMatMul", 10, qlinear_matmul},
  };
  return kOps;
}

std::span<const OnnxOp> microsoft_quantize_ops() {
  static constexpr OnnxOp kOps[] = {
      {"QuantizeLinear", 1, quantize_linear},
      {"DequantizeLinear", 1, dequantize_linear},
      {"MatMulIntegerToFloat", 1, matmul_integer_to_float},
      {"DynamicQuantizeMatMul", 1, dynamic_quantize_matmul},
      {"QAttention", 1, quantized_attention},
  };
  return kOps;
}

}  // namespace bertie::models
