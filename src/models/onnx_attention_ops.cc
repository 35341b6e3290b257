// Attention, ONNX's own and com.microsoft's. The `attention` op where its form fits; else the elementary ops that define it.
#include <cmath>
#include <limits>

#include "models/onnx_fused.h"
#include "models/onnx_node.h"
#include "network/attention_bias.h"
#include "network/op.h"

namespace bertie::models {
namespace {

// [B, S, H*D] -> [B, H, S, D]
ValueId split_heads(OnnxNode& node, ValueId x, int64_t heads) {
  const ValueId split = node.make("reshape", {x, node.integers_of({0, 0, heads, -1})});
  return node.make("transpose", {split}, {{"permutation", std::vector<int64_t>{0, 2, 1, 3}}});
}

ValueId merge_heads(OnnxNode& node, ValueId x) {
  const ValueId rows = node.make("transpose", {x}, {{"permutation", std::vector<int64_t>{0, 2, 1, 3}}});
  return node.make("reshape", {rows, node.integers_of({0, 0, -1})});
}

ValueId unsqueezed(OnnxNode& node, ValueId x, std::initializer_list<int64_t> axes) {
  return node.make("unsqueeze", {x, node.integers_of(axes)});
}

// 0, 1, ... along this axis of x.
ValueId places(OnnxNode& node, ValueId x, int64_t axis) {
  const ValueId extent = node.make("shape", {x}, {{"start", axis}, {"end", axis + 1}});
  const ValueId limit = node.make("squeeze", {extent, node.integers_of({0})});
  const auto number = [&](int64_t value) {
    return node.network().add_constant("integer", Tensor::from_int64s({}, std::span(&value, 1)));
  };
  return node.make("range", {number(0), limit, number(1)});
}

// softmax(scale q k^T + biases) v over heads [B, H, S, D]. `biases` broadcast against [B, H, S, S'], as does `allowed` (or kNone):
// what it does not allow weighs nothing, also in a row that it allows nothing.
ValueId product(OnnxNode& node, ValueId q, ValueId k, ValueId v, double scale, const std::vector<ValueId>& biases,
                ValueId allowed = kNone) {
  const ValueId turned = node.make("transpose", {k}, {{"permutation", std::vector<int64_t>{0, 1, 3, 2}}});
  ValueId scores = node.elementwise("mul", node.make("matmul", {q, turned}), node.scalar(static_cast<float>(scale)));
  for (ValueId bias : biases) scores = node.elementwise("add", scores, bias);
  ValueId weights = node.make("softmax", {scores}, {{"axis", int64_t{-1}}});
  if (allowed != kNone) weights = node.make("where", {allowed, weights, node.scalar(0)});
  return node.make("matmul", {weights, v});
}

// `value` where the condition does not hold, 0 where it does.
ValueId bias_unless(OnnxNode& node, ValueId condition, float value) {
  return node.make("where", {condition, node.scalar(0), node.scalar(value)});
}

}  // namespace

// com.microsoft's mask for keys: [batch, sequence] (0: not attended), or one number of leading keys a sequence.
ValueId key_mask(OnnxNode& node, ValueId mask, ValueId keys) {
  if (node.rank(mask) == 2) return mask;
  const Dim& batch = node.shape(keys)[0];
  const bool other =
      node.rank(mask) == 1 && node.shape(mask)[0].is_fixed() && batch.is_fixed() && !(node.shape(mask)[0] == batch);
  if (node.rank(mask) != 1 || other) {
    node.refuse("a mask of shape {} beside keys {}", to_string(node.shape(mask)), to_string(node.shape(keys)));
  }
  const ValueId counts = unsqueezed(node, node.cast(mask, DType::i64), {1});
  return node.cast(node.elementwise("less", places(node, keys, 1), counts), DType::i32);
}

ValueId head_attention(OnnxNode& node, const HeadAttention& a) {
  const int64_t width = node.shape(a.q).back().size;
  if (width < 1) node.refuse("a width of {}", to_string(SymbolicShape{node.shape(a.q).back()}));
  if (a.heads < 1 || width % a.heads != 0) node.contradict("{} heads over a width of {}", a.heads, width);
  const int64_t head_dim = width / a.heads;
  const double scale = a.scale != 0 ? a.scale : 1.0 / std::sqrt(static_cast<double>(head_dim));
  const ValueId mask = a.mask == kNone ? kNone : key_mask(node, a.mask, a.k);
  const bool one_shape = node.shape(a.q) == node.shape(a.k) && node.shape(a.q) == node.shape(a.v);
  const SymbolicShape& rows = node.shape(a.q);
  const bool mask_fits = mask == kNone || node.shape(mask) == SymbolicShape{rows[0], rows[1]};
  const bool bias_fits = a.bias == kNone || (node.network().value(a.bias).dtype == DType::f32 &&
                                             is_attention_bias(node.shape(a.bias), rows[0], a.heads, rows[1]));
  if (one_shape && mask_fits && bias_fits) {
    return node.make("attention", {a.q, a.k, a.v, mask, kNone, kNone, a.bias}, {{"heads", a.heads}, {"scale", scale}});
  }
  std::vector<ValueId> biases;
  if (a.bias != kNone) biases.push_back(a.bias);
  if (mask != kNone) {
    const ValueId attended = node.cast(unsqueezed(node, mask, {1, 2}), DType::boolean);
    biases.push_back(bias_unless(node, attended, static_cast<float>(a.mask_filter)));
  }
  return merge_heads(node, product(node, split_heads(node, a.q, a.heads), split_heads(node, a.k, a.heads),
                                   split_heads(node, a.v, a.heads), scale, biases));
}

ValueId attention_of_packed(OnnxNode& node, ValueId qkv, HeadAttention a) {
  const int64_t width = node.shape(qkv).back().size;
  if (const auto sizes = node.integers("qkv_hidden_sizes"); sizes && !sizes->empty()) {
    const bool even = sizes->size() == 3 && (*sizes)[0] == (*sizes)[1] && (*sizes)[0] == (*sizes)[2];
    if (!even) node.refuse("attribute 'qkv_hidden_sizes' = [{}]", fmt::join(*sizes, ", "));
  }
  if (width < 1 || width % 3 != 0) node.contradict("q, k and v in a width of {}", width);
  const auto parts = node.make_all("split", {qkv, node.integers_of({width / 3, width / 3, width / 3})}, {{"axis", int64_t{-1}}});
  a.q = parts[0];
  a.k = parts[1];
  a.v = parts[2];
  return head_attention(node, a);
}

HeadAttention attention_attributes(OnnxNode& node) {
  node.expect("unidirectional", 0);
  node.expect("do_rotary", 0);
  node.ignore({"past_present_share_buffer", "rotary_embedding_dim"});
  HeadAttention a;
  a.heads = node.integer("num_heads", 0);
  a.scale = node.real("scale", 0);
  a.mask_filter = node.real("mask_filter_value", -10000);
  return a;
}

namespace {

void attention(OnnxNode& node, std::string_view) {
  ValueId qkv = node.make("matmul", {node.input(0), node.input(1)});
  if (node.has(2)) qkv = node.elementwise("add", qkv, node.input(2));
  HeadAttention a = attention_attributes(node);
  a.mask = node.optional_input(3);
  a.bias = node.optional_input(5);
  node.output(0, attention_of_packed(node, qkv, a));
}

void multi_head_attention(OnnxNode& node, std::string_view) {
  HeadAttention a = attention_attributes(node);
  ValueId* const parts[] = {&a.q, &a.k, &a.v};
  for (size_t i = 0; i < 3; ++i) {
    if (!node.has(i)) node.refuse("keys and values packed with the queries");
    *parts[i] = node.input(i);
    if (node.rank(*parts[i]) != 3) node.refuse("input {} of rank {}", i, node.rank(*parts[i]));
  }
  if (node.has(3)) {
    const auto biases = node.make_all("split", {node.input(3)}, {{"axis", int64_t{0}}, {"parts", int64_t{3}}});
    for (size_t i = 0; i < 3; ++i) *parts[i] = node.elementwise("add", *parts[i], biases[i]);
  }
  a.mask = node.optional_input(4);
  a.bias = node.optional_input(5);
  node.output(0, head_attention(node, a));
}

// ONNX's own (opset 23): q, k, v as [B, S, H*D] or [B, H, S, D]; fewer heads of k and v are each shared by several of q.
void onnx_attention(OnnxNode& node, std::string_view) {
  node.expect("qk_matmul_output_mode", 0);
  node.ignore({"softmax_precision"});  // float32 always
  if (node.real("softcap", 0) != 0) node.refuse("attribute 'softcap'");
  ValueId q = node.input(0);
  ValueId k = node.input(1);
  ValueId v = node.input(2);
  const bool flat = node.rank(q) == 3;
  const int64_t stated_heads = node.integer("q_num_heads", 0);
  const int64_t stated_kv_heads = node.integer("kv_num_heads", 0);
  if (flat) {
    if (stated_heads < 1 || stated_kv_heads < 1) node.contradict("q_num_heads and kv_num_heads are missing");
    q = split_heads(node, q, stated_heads);
    k = split_heads(node, k, stated_kv_heads);
    v = split_heads(node, v, stated_kv_heads);
  }
  if (node.rank(q) != 4) node.contradict("Q of rank {}", node.rank(q));
  const int64_t heads = node.shape(q)[1].size;
  const int64_t kv_heads = node.shape(k)[1].size;
  const int64_t head_dim = node.shape(q)[3].size;
  if (heads < 1 || kv_heads < 1 || head_dim < 1) node.refuse("a number of heads that only the run knows");
  if (heads % kv_heads != 0) node.contradict("{} heads of Q over {} of K", heads, kv_heads);
  if (const int64_t shared = heads / kv_heads; shared > 1) {
    const auto repeated = [&](ValueId x) {
      const ValueId wide = node.make("expand", {unsqueezed(node, x, {2}), node.integers_of({1, 1, shared, 1, 1})});
      const ValueId shape = node.make("shape", {x}, {{"start", int64_t{2}}});
      const ValueId front = node.make("shape", {x}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
      return node.make("reshape", {wide, node.make("concat", {front, node.integers_of({heads}), shape}, {{"axis", int64_t{0}}})});
    };
    k = repeated(k);
    v = repeated(v);
  }
  std::vector<ValueId> biases;
  ValueId allowed = kNone;
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  if (node.integer("is_causal", 0) != 0) {
    const ValueId reached = node.elementwise("greater_or_equal", unsqueezed(node, places(node, q, 2), {1}), places(node, k, 2));
    biases.push_back(bias_unless(node, reached, kNever));
    allowed = reached;
  }
  if (node.has(3)) {
    const ValueId mask = node.input(3);
    const Dim& extent = node.shape(mask).back();
    if (extent.is_fixed() && node.shape(k)[2].is_fixed() && extent.size != 1 && !(extent == node.shape(k)[2])) {
      node.refuse("a mask shorter than the keys");
    }
    const bool boolean = node.dtype(mask) == DType::boolean;
    biases.push_back(boolean ? bias_unless(node, mask, kNever) : mask);
    allowed = !boolean ? kNone : allowed == kNone ? mask : node.elementwise("and", allowed, mask);
  } else {
    allowed = kNone;  // each query reaches its own key
  }
  const double stated_scale = node.real("scale", 0);
  const double scale = stated_scale != 0 ? stated_scale : 1.0 / std::sqrt(static_cast<double>(head_dim));
  const ValueId y = product(node, q, k, v, scale, biases, allowed);
  node.output(0, flat ? merge_heads(node, y) : y);
}

}  // namespace

std::span<const OnnxOp> onnx_attention_ops() {
  static constexpr OnnxOp kOps[] = {{"Attention", 23, onnx_attention}};
  return kOps;
}

std::span<const OnnxOp> microsoft_attention_ops() {
  static constexpr OnnxOp kOps[] = {{"Attention", 1, attention}, {"MultiHeadAttention", 1, multi_head_attention}};
  return kOps;
}

}  // namespace bertie::models
