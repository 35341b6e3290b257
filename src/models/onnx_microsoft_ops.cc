// com.microsoft's fused floating-point ops, as ONNX Runtime's optimiser writes them:
// https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md. Attention and eight bits are in files of their own.
#include <numeric>

#include "models/onnx_fused.h"
#include "models/onnx_node.h"
#include "network/op.h"

namespace bertie::models {
namespace {

void gelu(OnnxNode& node, std::string_view approximate) {
  ValueId x = node.input(0);
  if (node.has(1)) x = node.elementwise("add", x, node.input(1));
  node.output(0, node.make("gelu", {x}, {{"approximate", std::string(approximate)}}));
}

void quick_gelu(OnnxNode& node, std::string_view) {
  const ValueId x = node.input(0);
  const ValueId scaled = node.elementwise("mul", x, node.scalar(static_cast<float>(node.real("alpha", 1.702F))));
  node.output(0, node.elementwise("mul", x, node.unary("sigmoid", scaled)));
}

// x with its last two axes exchanged.
ValueId turned(OnnxNode& node, ValueId x) {
  std::vector<int64_t> permutation(static_cast<size_t>(node.rank(x)));
  std::iota(permutation.begin(), permutation.end(), 0);
  if (permutation.size() < 2) return x;
  std::swap(permutation[permutation.size() - 1], permutation[permutation.size() - 2]);
  return node.make("transpose", {x}, {{"permutation", std::move(permutation)}});
}

void fused_matmul(OnnxNode& node, std::string_view) {
  node.expect("transBatchA", 0);
  node.expect("transBatchB", 0);
  node.require_float(0);
  const auto side = [&](size_t index, std::string_view flag) {
    const ValueId x = node.input(index);
    return node.integer(flag, 0) != 0 ? turned(node, x) : x;
  };
  ValueId y = node.make("matmul", {side(0, "transA"), side(1, "transB")});
  if (const auto alpha = static_cast<float>(node.real("alpha", 1)); alpha != 1)
    y = node.elementwise("mul", y, node.scalar(alpha));
  node.output(0, y);
}

void fused_gemm(OnnxNode& node, std::string_view) {
  constexpr std::pair<std::string_view, const char*> kActivations[] = {
      {"Relu", "relu"}, {"Tanh", "tanh"}, {"Sigmoid", "sigmoid"}, {"Softplus", "softplus"}};
  const std::string stated = node.text("activation", "");
  for (const auto& [name, function] : kActivations) {
    if (name == stated) {
      node.output(0, node.unary(function, gemm(node)));
      return;
    }
  }
  node.refuse("attribute 'activation' = '{}'", stated);
}

// layer_norm(input + skip + bias); output 3 is the sum.
void skip_layer_norm(OnnxNode& node, std::string_view simplified) {
  const bool rms = !simplified.empty();
  const size_t bias = rms ? 3 : 4;
  ValueId sum = node.input(0);
  if (node.has(bias)) sum = node.elementwise("add", sum, node.input(bias));
  sum = node.elementwise("add", sum, node.input(1));
  const double epsilon = node.real("epsilon", 1e-5F);
  node.output(0, rms ? rms_norm(node, sum, node.input(2), node.rank(sum) - 1, epsilon)
                     : layer_norm(node, sum, node.input(2), node.optional_input(3), epsilon));
  node.output(3, sum);
}

ValueId rows(OnnxNode& node, ValueId table, ValueId ids) { return node.make("gather", {table, ids}, {{"axis", int64_t{0}}}); }

// Positions 0, 1, ... along the last axis of ids [batch, sequence].
ValueId default_positions(OnnxNode& node, ValueId ids) {
  const auto number = [&](int64_t value) {
    return node.network().add_constant("integer", Tensor::from_int64s({}, std::span(&value, 1)));
  };
  const ValueId extent = node.make("gather", {node.make("shape", {ids}), number(1)}, {{"axis", int64_t{0}}});
  return node.make("range", {number(0), extent, number(1)});
}

// Inputs: ids, types?, word, position, type?, gamma, beta, mask?, positions?. Outputs: normalised, ones in each row of the mask, sum.
void embed_layer_norm(OnnxNode& node, std::string_view) {
  node.ignore({"mask_index_type"});
  const ValueId ids = node.input(0);
  ValueId sum = rows(node, node.input(2), ids);
  if (node.has(1) != node.has(4)) node.contradict("segment ids without their table, or the table without ids");
  if (node.has(1)) sum = node.elementwise("add", sum, rows(node, node.input(4), node.input(1)));
  const ValueId positions = node.has(8) ? node.input(8) : default_positions(node, ids);
  sum = node.elementwise("add", sum, rows(node, node.input(3), positions));
  node.output(0, layer_norm(node, sum, node.input(5), node.input(6), node.real("epsilon", 1e-12F)));
  node.output(2, sum);
  const ValueId mask = node.optional_input(7);
  if (!node.wants(1)) return;
  if (mask == kNone) node.refuse("the number of ones of a mask that is left out");
  const ValueId ones =
      node.make("reduce", {mask, node.integers_of({1})}, {{"function", std::string("sum")}, {"keep_dims", int64_t{0}}});
  node.output(1, node.cast(ones, DType::i32));
}

}  // namespace

std::span<const OnnxOp> microsoft_ops() {
  static constexpr OnnxOp kOps[] = {
      {"Gelu", 1, gelu, "none"},
      {"BiasGelu", 1, gelu, "none"},
      {"FastGelu", 1, gelu, "tanh"},
      {"QuickGelu", 1, quick_gelu},
      {"FusedMatMul", 1, fused_matmul},
      {"FusedGemm", 1, fused_gemm},
      {"SkipLayerNormalization", 1, skip_layer_norm},
      {"SkipSimplifiedLayerNormalization", 1, skip_layer_norm, "simplified"},
      {"EmbedLayerNormalization", 1, embed_layer_norm},
  };
  return kOps;
}

}  // namespace bertie::models
