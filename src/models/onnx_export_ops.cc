// Elementary ops: each is ONNX's own op, in the form of the chosen opset.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "models/onnx_export.h"
#include "network/op.h"

namespace bertie::models {
namespace {

struct Spelling {
  std::string_view function, op;
};

constexpr Spelling kElementwise[] = {
    {"add", "Add"}, {"sub", "Sub"},     {"mul", "Mul"},         {"div", "Div"},   {"pow", "Pow"}, {"min", "Min"}, {"max", "Max"},
    {"mod", "Mod"}, {"equal", "Equal"}, {"greater", "Greater"}, {"less", "Less"}, {"and", "And"}, {"or", "Or"},   {"xor", "Xor"},
};
constexpr Spelling kUnary[] = {
    {"identity", "Identity"}, {"relu", "Relu"}, {"tanh", "Tanh"},   {"sigmoid", "Sigmoid"},
    {"softplus", "Softplus"}, {"erf", "Erf"},   {"exp", "Exp"},     {"log", "Log"},
    {"sqrt", "Sqrt"},         {"sin", "Sin"},   {"cos", "Cos"},     {"reciprocal", "Reciprocal"},
    {"neg", "Neg"},           {"abs", "Abs"},   {"sign", "Sign"},   {"floor", "Floor"},
    {"ceil", "Ceil"},         {"not", "Not"},   {"round", "Round"}, {"is_nan", "IsNaN"},
};
constexpr Spelling kReductions[] = {
    {"mean", "ReduceMean"},      {"sum", "ReduceSum"},
    {"max", "ReduceMax"},        {"min", "ReduceMin"},
    {"prod", "ReduceProd"},      {"l1", "ReduceL1"},
    {"l2", "ReduceL2"},          {"sum_square", "ReduceSumSquare"},
    {"log_sum", "ReduceLogSum"}, {"log_sum_exp", "ReduceLogSumExp"},
};

std::string spelled(const OnnxExport& e, std::span<const Spelling> table) {
  const std::string function = e.node->text("function");
  for (const Spelling& row : table) {
    if (row.function == function) return std::string(row.op);
  }
  e.refuse(fmt::format("function '{}'", function));
}

std::vector<OnnxName> export_elementwise(OnnxExport& e) {
  OnnxGraph& g = e.graph;
  const std::string function = e.node->text("function");
  const OnnxName a = e.input(0), b = e.input(1);
  const bool integers = !is_float(e.dtype(0));
  if (function == "fmod") return {g.add("Mod", {a, b}, {attribute("fmod", int64_t{1})})};
  if (function == "greater_or_equal") return {g.greater_or_equal(a, b)};
  if (function == "less_or_equal") return {g.greater_or_equal(b, a)};
  if (integers && (function == "min" || function == "max")) e.require_opset(12, "whole numbers");
  if (function == "pow" && (integers || !is_float(e.dtype(1)))) e.require_opset(12, "whole numbers");
  return {g.add(spelled(e, kElementwise), {a, b})};
}

std::vector<OnnxName> export_unary(OnnxExport& e) {
  const std::string function = e.node->text("function");
  if (function == "silu") return {e.graph.add("Mul", {e.input(0), e.graph.add("Sigmoid", {e.input(0)})})};
  if (function == "relu" && !is_float(e.dtype(0))) e.require_opset(14, "whole numbers");
  return {e.graph.add(spelled(e, kUnary), {e.input(0)})};
}

std::vector<OnnxName> export_reduce(OnnxExport& e) {
  const std::vector<int64_t> axes = e.has(1) ? e.integers(1) : std::vector<int64_t>{};
  if (axes.empty() && e.node->integer("noop_with_empty_axes") != 0) return {e.graph.add("Identity", {e.input(0)})};
  return {e.graph.reduce(spelled(e, kReductions), e.input(0), axes, e.node->integer("keep_dims", 1) != 0)};
}

std::vector<OnnxName> export_softmax(OnnxExport& e) {
  const char* op = e.node->integer("logarithm") != 0 ? "LogSoftmax" : "Softmax";
  return {e.graph.softmax(op, e.input(0), e.node->integer("axis", -1), e.rank(0))};
}

std::vector<OnnxName> export_reshape(OnnxExport& e) {
  std::vector<onnx::Attribute> attributes;
  if (e.node->integer("allow_zero") != 0) {
    const auto shape = known_elements(e.network.value(e.node->input(1)));
    const bool has_zero = !shape || std::find(shape->begin(), shape->end(), Dim(0)) != shape->end();
    if (has_zero) {
      e.require_opset(14, "allow_zero");
      attributes.push_back(attribute("allowzero", int64_t{1}));
    }
  }
  return {e.graph.add("Reshape", {e.input(0), e.input(1)}, std::move(attributes))};
}

std::vector<OnnxName> export_transpose(OnnxExport& e) {
  if (!e.node->attributes.contains("permutation")) return {e.graph.add("Transpose", {e.input(0)})};
  return {e.graph.transpose(e.input(0), e.node->integers("permutation"))};
}

std::vector<OnnxName> export_split(OnnxExport& e) {
  OnnxGraph& g = e.graph;
  const size_t outputs = e.node->outputs.size();
  std::vector<onnx::Attribute> attributes = {attribute("axis", e.node->integer("axis"))};
  if (e.has(1) && g.opset() >= 13) return g.add_many("Split", {e.input(0), e.input(1)}, std::move(attributes), outputs);
  if (e.has(1)) {
    attributes.push_back(attribute("split", e.integers(1)));
    return g.add_many("Split", {e.input(0)}, std::move(attributes), outputs);
  }
  if (g.opset() >= 18) attributes.push_back(attribute("num_outputs", static_cast<int64_t>(outputs)));
  return g.add_many("Split", {e.input(0)}, std::move(attributes), outputs);
}

std::vector<OnnxName> export_shape(OnnxExport& e) {
  const int64_t start = e.node->integer("start", 0), end = e.node->integer("end", e.rank(0));
  if (start == 0 && end == e.rank(0)) return {e.graph.add("Shape", {e.input(0)})};
  return {e.graph.shape(e.input(0), start, end)};
}

std::vector<OnnxName> export_constant_of_shape(OnnxExport& e) {
  const auto& value = e.network.value(e.node->input(1)).constant;
  if (!value) return {e.graph.add("Expand", {e.input(1), e.input(0)})};
  Tensor one = *e.graph.initializer_of(e.input(1));  // as it is written: floats as f32
  one.shape = Shape{1};
  return {e.graph.add("ConstantOfShape", {e.input(0)}, {attribute("value", std::move(one))})};
}

std::vector<OnnxName> export_clip(OnnxExport& e) {
  if (!is_float(e.dtype(0))) e.require_opset(12, "whole numbers");
  return {e.graph.add("Clip", {e.input(0), e.input(1), e.input(2)})};
}

std::vector<OnnxName> export_cumulative_sum(OnnxExport& e) {
  return {e.graph.add("CumSum", {e.input(0), e.input(1)},
                      {attribute("exclusive", e.node->integer("exclusive")), attribute("reverse", e.node->integer("reverse"))})};
}

std::vector<OnnxName> export_cast(OnnxExport& e) {
  const DType to = *dtype_named(e.node->text("to"));
  return {e.graph.cast(e.input(0), is_float(to) ? DType::f32 : to)};
}

std::vector<onnx::Attribute> quantization_axis(const OnnxExport& e) {
  if (e.shape(1).empty()) return {};
  e.require_opset(13, "a scale along an axis");
  std::vector<onnx::Attribute> attributes = {attribute("axis", e.node->integer("axis", 1))};
  if (const int64_t block = e.node->integer("block_size"); block != 0) {
    e.require_opset(21, "scales by block");
    attributes.push_back(attribute("block_size", block));
  }
  return attributes;
}

std::vector<OnnxName> export_dynamic_quantize_linear(OnnxExport& e) {
  if (e.node->integer("per_row") != 0) e.refuse("ONNX takes one range for the whole tensor, not one a row");
  return e.graph.add_many("DynamicQuantizeLinear", {e.input(0)}, {}, 3);
}

std::vector<OnnxName> export_quantize_linear(OnnxExport& e) {
  OnnxName zero = e.input(2);
  if (zero.empty() && e.node->text("to") == "i8") {
    if (!e.shape(1).empty()) e.refuse("signed numbers along an axis without a zero_point");
    zero = e.graph.initializer("zero_point", Tensor{DType::i8, {}, std::make_shared<const int8_t>(0)});
  }
  return {e.graph.add("QuantizeLinear", {e.input(0), e.input(1), zero}, quantization_axis(e))};
}

std::vector<OnnxName> export_dequantize_linear(OnnxExport& e) {
  return {e.graph.add("DequantizeLinear", {e.input(0), e.input(1), e.input(2)}, quantization_axis(e))};
}

// Ops whose inputs are ONNX's in ONNX's order; `axis`: they have that attribute.
struct Plain {
  std::string_view op, onnx;
  bool axis = false;
};
constexpr Plain kPlain[] = {
    {"concat", "Concat", true}, {"expand", "Expand"},
    {"gather", "Gather", true}, {"gather_elements", "GatherElements", true},
    {"matmul", "MatMul"},       {"matmul_integer", "MatMulInteger"},
    {"range", "Range"},         {"size", "Size"},
    {"slice", "Slice"},         {"tile", "Tile"},
    {"where", "Where"},
};

std::vector<OnnxName> export_plain(OnnxExport& e) {
  const auto plain = std::find_if(std::begin(kPlain), std::end(kPlain), [&](const Plain& row) { return row.op == e.node->op; });
  std::vector<OnnxName> inputs;
  for (size_t i = 0; i < e.node->inputs.size(); ++i) inputs.push_back(e.input(i));
  std::vector<onnx::Attribute> attributes;
  if (plain->axis) attributes.push_back(attribute("axis", e.node->integer("axis")));
  return e.graph.add_many(std::string(plain->onnx), std::move(inputs), std::move(attributes), e.node->outputs.size());
}

}  // namespace

OnnxExporter onnx_exporter_of_elementary(std::string_view op) {
  static constexpr std::pair<std::string_view, OnnxExporter> kExporters[] = {
      {"cast", export_cast},
      {"clip", export_clip},
      {"constant_of_shape", export_constant_of_shape},
      {"cumulative_sum", export_cumulative_sum},
      {"dequantize_linear", export_dequantize_linear},
      {"dynamic_quantize_linear", export_dynamic_quantize_linear},
      {"elementwise", export_elementwise},
      {"quantize_linear", export_quantize_linear},
      {"reduce", export_reduce},
      {"reshape", export_reshape},
      {"shape", export_shape},
      {"softmax", export_softmax},
      {"split", export_split},
      {"squeeze",
       [](OnnxExport& e) -> std::vector<OnnxName> {
         if (!e.has(1)) return {e.graph.add("Squeeze", {e.input(0)})};
         return {e.graph.squeeze(e.input(0), e.integers(1))};
       }},
      {"transpose", export_transpose},
      {"unary", export_unary},
      {"unsqueeze", [](OnnxExport& e) -> std::vector<OnnxName> { return {e.graph.unsqueeze(e.input(0), e.integers(1))}; }},
  };
  for (const auto& [name, exporter] : kExporters) {
    if (name == op) return exporter;
  }
  for (const Plain& plain : kPlain) {
    if (plain.op == op) return export_plain;
  }
  return nullptr;
}

}  // namespace bertie::models
