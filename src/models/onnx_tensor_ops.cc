// ONNX ops that multiply, reduce and normalise.
#include <algorithm>

#include "models/onnx_fused.h"
#include "models/onnx_node.h"
#include "network/op.h"

namespace bertie::models {
namespace {

void matmul(OnnxNode& node, std::string_view) {
  node.require_float(0);
  node.output(0, node.make("matmul", {node.input(0), node.input(1)}));
}

}  // namespace

ValueId gemm(OnnxNode& node) {
  node.require_float(0);
  const ValueId a = node.input(0);
  const ValueId b = node.input(1);
  ValueId c = node.optional_input(2);
  if (node.rank(a) != 2 || node.rank(b) != 2) node.contradict("A and B must be matrices");
  const auto alpha = static_cast<float>(node.real("alpha", 1));
  const auto beta = static_cast<float>(node.real("beta", 1));
  const bool transpose_a = node.integer("transA", 0) != 0;
  const bool transpose_b = node.integer("transB", 0) != 0;
  const bool one_depth = node.shape(a).back() == node.shape(b).back();
  const bool plain_bias = c == kNone || (node.rank(c) == 1 && node.shape(c)[0] == node.shape(b)[0]);
  if (!transpose_a && transpose_b && alpha == 1 && beta == 1 && plain_bias && one_depth) {  // torch.nn.Linear
    return node.make("linear", {a, b, c});
  }
  const auto transposed = [&](ValueId x, bool wanted) { return wanted ? node.make("transpose", {x}) : x; };
  ValueId y = node.make("matmul", {transposed(a, transpose_a), transposed(b, transpose_b)});
  if (alpha != 1) y = node.elementwise("mul", y, node.scalar(alpha));
  if (c != kNone) {
    if (beta != 1) c = node.elementwise("mul", c, node.scalar(beta));
    y = node.elementwise("add", y, c);
  }
  return y;
}

namespace {

void plain_gemm(OnnxNode& node, std::string_view) { node.output(0, gemm(node)); }

void softmax(OnnxNode& node, std::string_view log) {
  const ValueId x = node.input(0);
  Attributes attributes{{"axis", node.axis(node.integer("axis", -1), node.rank(x))}};
  if (!log.empty()) attributes["logarithm"] = int64_t{1};
  node.output(0, node.make("softmax", {x}, std::move(attributes)));
}

// Up to opset 12 over all axes from `axis` on, taken as one.
void softmax_of_matrix(OnnxNode& node, std::string_view log) {
  const ValueId x = node.input(0);
  const int64_t axis = node.axis(node.integer("axis", 1), node.rank(x));
  Attributes attributes{{"axis", int64_t{-1}}};
  if (!log.empty()) attributes["logarithm"] = int64_t{1};
  if (axis == node.rank(x) - 1) {
    node.output(0, node.make("softmax", {x}, std::move(attributes)));
    return;
  }
  const ValueId y = node.make("softmax", {flatten_to_matrix(node, x, axis)}, std::move(attributes));
  node.output(0, node.make("reshape", {y, node.make("shape", {x})}));
}

void reduce(OnnxNode& node, std::string_view function) {
  const ValueId x = node.input(0);
  ValueId axes = kNone;
  if (const auto stated = node.integers("axes")) {
    axes = node.network().add_integers(*stated);
  } else {
    axes = node.known_input(1);
  }
  Attributes attributes{{"function", std::string(function)}, {"keep_dims", int64_t{node.integer("keepdims", 1) != 0}}};
  if (node.integer("noop_with_empty_axes", 0) != 0) attributes["noop_with_empty_axes"] = int64_t{1};
  node.output(0, node.make("reduce", {x, axes}, std::move(attributes)));
}

// Over all axes after batch and channel (tf2onnx writes a mean over the last axis so).
void global_pool(OnnxNode& node, std::string_view function) {
  const ValueId x = node.input(0);
  std::vector<int64_t> axes;
  for (int64_t axis = 2; axis < node.rank(x); ++axis) axes.push_back(axis);
  node.output(0, node.make("reduce", {x, node.network().add_integers(axes)},
                           {{"function", std::string(function)}, {"keep_dims", int64_t{1}}}));
}

void cumulative_sum(OnnxNode& node, std::string_view) {
  Attributes attributes;
  for (const char* flag : {"exclusive", "reverse"}) {
    if (node.integer(flag, 0) != 0) attributes[flag] = int64_t{1};
  }
  node.output(0, node.make("cumulative_sum", {node.input(0), node.input(1)}, std::move(attributes)));
}

ValueId reduced_mean(OnnxNode& node, ValueId x, int64_t axis) {
  std::vector<int64_t> axes;
  for (int64_t i = axis; i < node.rank(x); ++i) axes.push_back(i);
  return node.make("reduce", {x, node.network().add_integers(axes)},
                   {{"function", std::string("mean")}, {"keep_dims", int64_t{1}}});
}

// (mean(x^2) + epsilon) ^ -1/2 over the axes from `axis` on.
ValueId inverse_deviation(OnnxNode& node, ValueId x, int64_t axis, double epsilon) {
  const ValueId variance = reduced_mean(node, node.elementwise("mul", x, x), axis);
  const ValueId sum = node.elementwise("add", variance, node.scalar(static_cast<float>(epsilon)));
  return node.unary("reciprocal", node.unary("sqrt", sum));
}

struct NormalizedRows {
  ValueId mean = kNone;
  ValueId inverse_deviation = kNone;
  ValueId normalized = kNone;
};

// Over the axes from `axis` on, from elementary ops.
NormalizedRows normalize_rows(OnnxNode& node, ValueId x, int64_t axis, double epsilon) {
  NormalizedRows rows;
  rows.mean = reduced_mean(node, x, axis);
  const ValueId centred = node.elementwise("sub", x, rows.mean);
  rows.inverse_deviation = inverse_deviation(node, centred, axis, epsilon);
  rows.normalized = node.elementwise("mul", centred, rows.inverse_deviation);
  return rows;
}

ValueId scaled_and_shifted(OnnxNode& node, ValueId x, ValueId scale, ValueId bias) {
  const ValueId scaled = node.elementwise("mul", x, scale);
  return bias == kNone ? scaled : node.elementwise("add", scaled, bias);
}

}  // namespace

ValueId layer_norm(OnnxNode& node, ValueId x, ValueId gamma, ValueId beta, double epsilon) {
  constexpr int64_t kWidest = 1 << 16;
  if (node.rank(x) < 1) node.contradict("the normalisation of a scalar");
  const SymbolicShape row{node.shape(x).back()};
  const bool plain =
      row[0].is_fixed() && row[0].size <= kWidest && node.shape(gamma) == row && (beta == kNone || node.shape(beta) == row);
  if (!plain) {
    const ValueId normalized = normalize_rows(node, x, node.rank(x) - 1, epsilon).normalized;
    return scaled_and_shifted(node, normalized, gamma, beta);
  }
  if (beta == kNone) {
    const std::vector<float> zeros(static_cast<size_t>(row[0].size), 0.0F);
    beta = node.network().add_constant(node.name() + ".beta", Tensor::from_floats({row[0].size}, zeros));
  }
  return node.make("layer_norm", {x, gamma, beta}, {{"epsilon", epsilon}});
}

ValueId rms_norm(OnnxNode& node, ValueId x, ValueId scale, int64_t axis, double epsilon) {
  return node.elementwise("mul", node.elementwise("mul", x, inverse_deviation(node, x, axis, epsilon)), scale);
}

namespace {

void layer_normalization(OnnxNode& node, std::string_view) {
  node.expect("stash_type", 1);
  const ValueId x = node.input(0);
  const ValueId scale = node.input(1);
  const ValueId bias = node.optional_input(2);
  const int64_t axis = node.axis(node.integer("axis", -1), node.rank(x));
  const double epsilon = node.real("epsilon", 1e-5F);
  if (axis == node.rank(x) - 1 && !node.wants(1) && !node.wants(2)) {
    node.output(0, layer_norm(node, x, scale, bias, epsilon));
    return;
  }
  const NormalizedRows rows = normalize_rows(node, x, axis, epsilon);
  node.output(0, scaled_and_shifted(node, rows.normalized, scale, bias));
  node.output(1, rows.mean);
  node.output(2, rows.inverse_deviation);
}

void rms_normalization(OnnxNode& node, std::string_view) {
  node.expect("stash_type", 1);
  const ValueId x = node.input(0);
  const int64_t axis = node.axis(node.integer("axis", -1), node.rank(x));
  node.output(0, rms_norm(node, x, node.input(1), axis, node.real("epsilon", 1e-5F)));
}

}  // namespace

std::span<const OnnxOp> onnx_tensor_ops() {
  static constexpr OnnxOp kOps[] = {
      {"MatMul", 1, matmul},
      {"Gemm", 7, plain_gemm},
      {"Softmax", 1, softmax_of_matrix},
      {"Softmax", 13, softmax},
      {"LogSoftmax", 1, softmax_of_matrix, "log"},
      {"LogSoftmax", 13, softmax, "log"},
      {"ReduceMean", 1, reduce, "mean"},
      {"ReduceSum", 1, reduce, "sum"},
      {"ReduceMax", 1, reduce, "max"},
      {"ReduceMin", 1, reduce, "min"},
      {"ReduceProd", 1, reduce, "prod"},
      {"ReduceL1", 1, reduce, "l1"},
      {"ReduceL2", 1, reduce, "l2"},
      {"ReduceSumSquare", 1, reduce, "sum_square"},
      {"ReduceLogSum", 1, reduce, "log_sum"},
      {"ReduceLogSumExp", 1, reduce, "log_sum_exp"},
      {"GlobalAveragePool", 1, global_pool, "mean"},
      {"GlobalMaxPool", 1, global_pool, "max"},
      {"CumSum", 11, cumulative_sum},
      {"LayerNormalization", 1, layer_normalization},  // ONNX Runtime writes it before opset 17, too
      {"SimplifiedLayerNormalization", 1, rms_normalization},
      {"RMSNormalization", 23, rms_normalization},
  };
  return kOps;
}

}  // namespace bertie::models
