// ONNX ops that work element by element.
#include <array>

#include "models/onnx_node.h"
#include "network/op.h"

namespace bertie::models {
namespace {

void binary(OnnxNode& node, std::string_view function) {
  node.output(0, node.elementwise(std::string(function), node.input(0), node.input(1)));
}

void pow(OnnxNode& node, std::string_view) {
  const ValueId base = node.input(0);
  ValueId exponent = node.input(1);
  if (is_float(node.dtype(base)) && !is_float(node.dtype(exponent))) exponent = node.cast(exponent, DType::f32);
  node.output(0, node.elementwise("pow", base, exponent));
}

void mod(OnnxNode& node, std::string_view) {
  const bool c_style = node.integer("fmod", 0) != 0;
  node.output(0, node.elementwise(c_style ? "fmod" : "mod", node.input(0), node.input(1)));
}

// Max, Min, Sum, Mean of any number of tensors.
ValueId folded(OnnxNode& node, std::string_view function) {
  ValueId result = node.input(0);
  for (size_t i = 1; i < node.input_count(); ++i) result = node.elementwise(std::string(function), result, node.input(i));
  return result;
}
void variadic(OnnxNode& node, std::string_view function) { node.output(0, folded(node, function)); }
void mean(OnnxNode& node, std::string_view) {
  const ValueId count = node.scalar(static_cast<float>(node.input_count()));
  node.output(0, node.elementwise("div", folded(node, "add"), count));
}

void one(OnnxNode& node, std::string_view function) { node.output(0, node.unary(std::string(function), node.input(0))); }

void identity(OnnxNode& node, std::string_view) { node.output(0, node.input(0)); }

void gelu(OnnxNode& node, std::string_view) {
  node.output(0, node.make("gelu", {node.input(0)}, {{"approximate", node.text("approximate", "none")}}));
}

void swish(OnnxNode& node, std::string_view) {
  const ValueId x = node.input(0);
  const auto alpha = static_cast<float>(node.real("alpha", 1.0));
  if (alpha == 1.0F) {
    node.output(0, node.unary("silu", x));
    return;
  }
  node.output(0, node.elementwise("mul", x, node.unary("sigmoid", node.elementwise("mul", x, node.scalar(alpha)))));
}

// Activations with numbers of their own; the op's defaults are ONNX's.
void shaped(OnnxNode& node, std::string_view function) {
  Attributes attributes{{"function", std::string(function)}};
  for (const auto& [stated, own] : {std::pair("alpha", "alpha"), std::pair("beta", "beta"), std::pair("gamma", "beta")}) {
    if (node.has_attribute(stated)) attributes[own] = node.real(stated, 0);
  }
  node.output(0, node.make("unary", {node.input(0)}, std::move(attributes)));
}

void is_infinite(OnnxNode& node, std::string_view) {
  Attributes attributes{{"function", std::string("is_inf")}};
  for (const char* sign : {"detect_positive", "detect_negative"}) {
    if (node.has_attribute(sign)) attributes[sign] = node.integer(sign, 1);
  }
  node.output(0, node.make("unary", {node.input(0)}, std::move(attributes)));
}

void clip(OnnxNode& node, std::string_view) {
  node.output(0, node.make("clip", {node.input(0), node.optional_input(1), node.optional_input(2)}));
}

void where(OnnxNode& node, std::string_view) {
  node.output(0, node.make("where", {node.input(0), node.input(1), node.input(2)}));
}

void cast(OnnxNode& node, std::string_view) {
  const int64_t number = node.integer("to", 0);
  const auto to = onnx::dtype_of_number(number);
  if (!to) node.refuse("to element type {}", onnx::type_name(number));
  node.ignore({"saturate", "round_mode"});  // both speak of eight-bit floats
  node.output(0, node.cast(node.input(0), *to));
}

void cast_like(OnnxNode& node, std::string_view) {
  node.ignore({"saturate", "round_mode"});
  node.output(0, node.cast(node.input(0), node.dtype(node.input(1))));
}

// As it is in inference: nothing is dropped.
void dropout(OnnxNode& node, std::string_view) {
  node.ignore({"ratio", "seed"});
  const auto training = node.constant_input(2);
  const auto ratio = node.optional_input(1);
  if (training && *static_cast<const uint8_t*>(training->data.get()) != 0) {
    const auto known = ratio == kNone ? std::nullopt : known_tensor(node.network(), ratio);
    if (!known || known->dtype != DType::f32 || *known->view().as<float>() != 0) node.refuse("training_mode");
  }
  const ValueId x = node.input(0);
  node.output(0, x);
  if (node.wants(1)) {
    const auto yes = std::make_shared<uint8_t>(1);
    const ValueId value = node.network().add_constant("true", Tensor{DType::boolean, Shape{}, yes});
    node.output(1, node.make("constant_of_shape", {node.make("shape", {x}), value}));
  }
}

}  // namespace

std::span<const OnnxOp> onnx_elementwise_ops() {
  static constexpr OnnxOp kOps[] = {
      {"Add", 7, binary, "add"},
      {"Sub", 7, binary, "sub"},
      {"Mul", 7, binary, "mul"},
      {"Div", 7, binary, "div"},
      {"Pow", 7, pow},
      {"Mod", 10, mod},
      {"Equal", 7, binary, "equal"},
      {"Greater", 7, binary, "greater"},
      {"GreaterOrEqual", 12, binary, "greater_or_equal"},
      {"Less", 7, binary, "less"},
      {"LessOrEqual", 12, binary, "less_or_equal"},
      {"And", 7, binary, "and"},
      {"Or", 7, binary, "or"},
      {"Xor", 7, binary, "xor"},
      {"Max", 8, variadic, "max"},
      {"Min", 8, variadic, "min"},
      {"Sum", 8, variadic, "add"},
      {"Mean", 8, mean},
      {"Relu", 6, one, "relu"},
      {"Tanh", 6, one, "tanh"},
      {"Sigmoid", 6, one, "sigmoid"},
      {"Softplus", 1, one, "softplus"},
      {"Erf", 9, one, "erf"},
      {"Exp", 6, one, "exp"},
      {"Log", 6, one, "log"},
      {"Sqrt", 6, one, "sqrt"},
      {"Reciprocal", 6, one, "reciprocal"},
      {"Sin", 7, one, "sin"},
      {"Cos", 7, one, "cos"},
      {"Neg", 6, one, "neg"},
      {"Abs", 6, one, "abs"},
      {"Sign", 9, one, "sign"},
      {"Floor", 6, one, "floor"},
      {"Ceil", 6, one, "ceil"},
      {"Round", 11, one, "round"},
      {"Not", 1, one, "not"},
      {"IsNaN", 9, one, "is_nan"},
      {"IsInf", 10, is_infinite},
      {"Tan", 7, one, "tan"},
      {"Asin", 7, one, "asin"},
      {"Acos", 7, one, "acos"},
      {"Atan", 7, one, "atan"},
      {"Sinh", 9, one, "sinh"},
      {"Cosh", 9, one, "cosh"},
      {"Asinh", 9, one, "asinh"},
      {"Acosh", 9, one, "acosh"},
      {"Atanh", 9, one, "atanh"},
      {"Softsign", 1, one, "softsign"},
      {"Mish", 18, one, "mish"},
      {"HardSwish", 14, one, "hard_swish"},
      {"LeakyRelu", 6, shaped, "leaky_relu"},
      {"Elu", 6, shaped, "elu"},
      {"Celu", 12, shaped, "celu"},
      {"Selu", 6, shaped, "selu"},
      {"ThresholdedRelu", 10, shaped, "thresholded_relu"},
      {"HardSigmoid", 6, shaped, "hard_sigmoid"},
      {"BitwiseNot", 18, one, "bitwise_not"},
      {"Gelu", 20, gelu},
      {"Swish", 24, swish},
      {"Clip", 11, clip},
      {"Where", 9, where},
      {"Identity", 1, identity},
      {"Cast", 6, cast},
      {"CastLike", 15, cast_like},
      {"Dropout", 7, dropout},
  };
  return kOps;
}

}  // namespace bertie::models
