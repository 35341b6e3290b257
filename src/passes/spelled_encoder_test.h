// An encoder whose parts may each be spelled otherwise, in elementary ops or as its family's own, and what passes are to make of it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

#include "passes/match.h"
#include "passes/pass.h"
#include "passes/probe.h"
#include "reference/evaluate.h"

namespace bertie::spelling {

inline constexpr int64_t kHidden = 8, kHeads = 2, kHeadDim = 4, kInner = 12, kVocabulary = 31, kPositions = 16, kLayers = 2;
inline constexpr double kEpsilon = 1e-5;

// Builds one encoder out of spellings; each may be exchanged for another.
struct Speller {
  Network network;
  std::mt19937 random{7};
  ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  ValueId mask = network.add_input("attention_mask", DType::i64, {"batch", "sequence"});

  // Weights by name, the same for every spelling.
  Tensor weight(const std::string& name, const Shape& shape, float shift = 0) {
    std::mt19937 own(static_cast<uint32_t>(std::hash<std::string>{}(name)));
    std::normal_distribution<float> normal(shift, 0.4f);
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    for (float& value : values) value = normal(own);
    return Tensor::from_floats(shape, values);
  }
  ValueId constant(const std::string& name, const Shape& shape, float shift = 0) {
    return network.add_constant(name, weight(name, shape, shift));
  }
  ValueId number(double value, const Shape& shape = {}) {
    return network.add_constant("number", Tensor::from_floats(shape, std::vector<float>{static_cast<float>(value)}));
  }
  ValueId integer(int64_t value) { return network.add_constant("integer", Tensor::from_int64s({}, std::vector<int64_t>{value})); }
  ValueId integers(std::vector<int64_t> values) { return network.add_integers(values); }
  ValueId f(const std::string& function, ValueId a, ValueId b) { return network.add_elementwise(function, a, b); }
  ValueId u(const std::string& function, ValueId x) { return network.add_unary(function, x); }
  ValueId mean(ValueId x) { return network.add_reduce("mean", x, std::vector<int64_t>{-1}, true); }
  ValueId unsqueeze(ValueId x, std::vector<int64_t> axes) { return network.add_node("unsqueeze", {x, integers(axes)}, {})[0]; }
  ValueId reshape(ValueId x, std::vector<int64_t> shape) { return network.add_reshape(x, shape); }
  ValueId extent(ValueId x, int64_t axis) { return network.add_gather(network.add_node("shape", {x}, {})[0], integer(axis), 0); }
  ValueId length() { return extent(ids, 1); }
  ValueId at(ValueId x, int64_t axis) { return unsqueeze(extent(x, axis), {0}); }

  std::function<ValueId(Speller&, ValueId)> gelu;
  std::function<ValueId(Speller&, ValueId x, ValueId gamma, ValueId beta)> norm;
  std::function<ValueId(Speller&, ValueId x, const std::string& name, int64_t columns)> linear;
  std::function<ValueId(Speller&, ValueId scores)> weights;  // of scaled or raw scores; see scale
  std::function<ValueId(Speller&, ValueId x, const std::string& layer)> attention;
  std::function<ValueId(Speller&)> embeddings;

  ValueId layer_norm(ValueId x, const std::string& name) {
    return norm(*this, x, constant(name + ".gamma", {kHidden}, 1), constant(name + ".beta", {kHidden}));
  }
  void build() {
    ValueId x = layer_norm(embeddings(*this), "embeddings.norm");
    for (int64_t i = 0; i < kLayers; ++i) {
      const std::string layer = "layer" + std::to_string(i);
      const ValueId context = attention(*this, x, layer);
      x = layer_norm(f("add", linear(*this, context, layer + ".projection", kHidden), x), layer + ".norm1");
      const ValueId inner = gelu(*this, linear(*this, x, layer + ".inner", kInner));
      x = layer_norm(f("add", linear(*this, inner, layer + ".outer", kHidden), x), layer + ".norm2");
    }
    network.add_output("last_hidden_state", x);
  }
};

// --- The family's own ops ---
inline ValueId family_linear(Speller& s, ValueId x, const std::string& name, int64_t rows) {
  const int64_t columns = s.network.value(x).shape.back().size;
  return s.network.add_linear(x, s.constant(name + ".weight", {rows, columns}), s.constant(name + ".bias", {rows}), name);
}
inline ValueId family_embeddings(Speller& s) {
  Network& n = s.network;
  const ValueId types = n.add_input("token_type_ids", DType::i64, {"batch", "sequence"});
  const ValueId positions = n.add_input("position_ids", DType::i64, {"batch", "sequence"});
  const ValueId word = n.add_embedding(s.constant("word", {kVocabulary, kHidden}), s.ids);
  const ValueId type = n.add_embedding(s.constant("type", {2, kHidden}), types);
  const ValueId position = n.add_embedding(s.constant("position", {kPositions, kHidden}), positions);
  return s.f("add", s.f("add", word, type), position);
}
inline ValueId family_attention(Speller& s, ValueId x, const std::string& layer) {
  const ValueId q = family_linear(s, x, layer + ".q", kHidden);
  const ValueId k = family_linear(s, x, layer + ".k", kHidden);
  const ValueId v = family_linear(s, x, layer + ".v", kHidden);
  return s.network.add_attention(q, k, v, s.mask, kNone, kHeads, 0.5);
}
inline Speller family() {
  Speller s;
  s.gelu = [](Speller& t, ValueId x) { return t.network.add_gelu(x); };
  s.norm = [](Speller& t, ValueId x, ValueId gamma, ValueId beta) { return t.network.add_layer_norm(x, gamma, beta, kEpsilon); };
  s.linear = family_linear;
  s.attention = family_attention;
  s.embeddings = family_embeddings;
  return s;
}

// --- The plain spelling in elementary ops: what the TorchScript exporter writes ---
inline ValueId matmul_linear(Speller& s, ValueId x, const std::string& name, int64_t rows) {
  const int64_t columns = s.network.value(x).shape.back().size;
  const Tensor weight = s.weight(name + ".weight", {rows, columns});
  std::vector<float> transposed;
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) transposed.push_back(weight.view().as<float>()[r * columns + c]);
  }
  const ValueId product = s.network.add_matmul(x, s.network.add_constant(name, Tensor::from_floats({columns, rows}, transposed)));
  return s.f("add", s.constant(name + ".bias", {rows}), product);
}
inline ValueId split_heads(Speller& s, ValueId x) {
  return s.network.add_transpose(s.reshape(x, {0, 0, kHeads, kHeadDim}), {0, 2, 1, 3});
}
inline ValueId merge_heads(Speller& s, ValueId x) { return s.reshape(s.network.add_transpose(x, {0, 2, 1, 3}), {0, 0, kHidden}); }
inline ValueId keys_transposed(Speller& s, ValueId x) { return s.network.add_transpose(split_heads(s, x), {0, 1, 3, 2}); }
// (1 - mask) * -1e4, [B, 1, 1, S]
inline ValueId additive_mask(Speller& s, double lowest = -10000) {
  const ValueId wide = s.unsqueeze(s.unsqueeze(s.mask, {1}), {2});
  return s.f("mul", s.f("sub", s.number(1), s.network.add_cast(wide, DType::f32)), s.number(lowest));
}
inline ValueId plain_weights(Speller& s, ValueId scores) {
  return s.network.add_softmax(s.f("add", s.f("div", scores, s.number(2)), additive_mask(s)), -1);
}
inline ValueId plain_attention(Speller& s, ValueId x, const std::string& layer) {
  const ValueId q = split_heads(s, s.linear(s, x, layer + ".q", kHidden));
  const ValueId k = keys_transposed(s, s.linear(s, x, layer + ".k", kHidden));
  const ValueId v = split_heads(s, s.linear(s, x, layer + ".v", kHidden));
  return merge_heads(s, s.network.add_matmul(s.weights(s, s.network.add_matmul(q, k)), v));
}
inline ValueId plain_gelu(Speller& s, ValueId x) {
  const ValueId gate = s.f("add", s.u("erf", s.f("div", x, s.number(std::sqrt(2.0)))), s.number(1));
  return s.f("mul", s.f("mul", x, gate), s.number(0.5));
}
inline ValueId plain_norm(Speller& s, ValueId x, ValueId gamma, ValueId beta) {
  const ValueId centred = s.f("sub", x, s.mean(x));
  const ValueId variance = s.mean(s.f("pow", centred, s.number(2)));
  const ValueId unit = s.f("div", centred, s.u("sqrt", s.f("add", variance, s.number(kEpsilon))));
  return s.f("add", s.f("mul", unit, gamma), beta);
}
inline Speller plain() {
  Speller s;
  s.gelu = plain_gelu;
  s.norm = plain_norm;
  s.linear = matmul_linear;
  s.attention = plain_attention;
  s.weights = plain_weights;
  s.embeddings = family_embeddings;
  return s;
}

inline std::vector<std::string> plan(const Network& network) {
  std::vector<std::string> steps;
  for (NodeId id : network.order()) {
    const Node& node = network.node(id);
    std::string step = node.op;
    for (const auto& [name, attribute] : node.attributes) step += fmt::format(" {}={}", name, to_string(attribute));
    steps.push_back(step + " " + to_string(network.value(node.outputs[0]).shape));
  }
  return steps;
}

inline std::string report_of(const std::vector<PassReport>& reports) {
  std::string text;
  for (const PassReport& report : reports) {
    for (const std::string& line : report.lines) text += report.name + ": " + line + "\n";
  }
  return text;
}

inline const std::vector<std::string> kUnpacked = {"remove_padding", "select_rows"};

// Largest difference between the two networks' outputs at attended rows, over batches with padding on both sides and holes.
inline double difference(const Network& original, const Network& rewritten) {
  double largest = 0;
  for (const auto& extents : {std::pair<int64_t, int64_t>{3, 7}, {1, 1}, {4, 5}}) {
    const int64_t batch = extents.first, sequence = extents.second;  // clang 14 captures no structured bindings
    const auto attended = probe_mask(batch, sequence, static_cast<uint32_t>(sequence));
    std::mt19937 random(99);
    std::vector<int64_t> tokens, types;
    for (int64_t i = 0; i < batch * sequence; ++i) {
      tokens.push_back(2 + static_cast<int64_t>(random() % (kVocabulary - 2)));
      if (!attended[static_cast<size_t>(i)]) tokens.back() = 1;
      types.push_back(static_cast<int64_t>(random() % 2));
    }
    const auto run = [&](const Network& network) {
      const PositionRule rule = network.position_rule().value_or(PositionRule{});
      std::map<ValueId, Tensor> inputs;
      for (ValueId id : network.inputs()) {
        inputs[id] = make_tensor(network.value(id).dtype, Shape{batch, sequence}, [&](int64_t i) -> double {
          const size_t at = static_cast<size_t>(i);
          switch (network.value(id).role) {
            case InputRole::token_ids: return static_cast<double>(tokens[at]);
            case InputRole::attention_mask: return attended[at] ? 1 : 0;
            case InputRole::type_ids: return static_cast<double>(types[at]);
            case InputRole::position_ids: {
              if (rule.padding_id < 0) return static_cast<double>(rule.first + i % sequence);
              if (tokens[at] == rule.padding_id) return rule.padding_id;
              int64_t before = 0;
              for (int64_t k = i / sequence * sequence; k < i; ++k) before += tokens[static_cast<size_t>(k)] != rule.padding_id;
              return static_cast<double>(rule.first + before);
            }
            default: return 0;
          }
        });
      }
      return evaluate(network, std::vector{network.outputs()[0].value}, inputs)[0];
    };
    const Tensor expected = run(original);
    const Tensor actual = run(rewritten);
    EXPECT_EQ(expected.shape, actual.shape);
    const int64_t width = expected.shape.back();
    const bool by_token = expected.shape.rank() == 3;
    for (int64_t i = 0; i < expected.shape.elements(); ++i) {
      if (by_token && !attended[static_cast<size_t>(i / width)]) continue;
      const double error = std::fabs(static_cast<double>(expected.view().as<float>()[i]) - actual.view().as<float>()[i]);
      largest = std::isnan(error) ? HUGE_VAL : std::max(largest, error);
    }
  }
  return largest;
}

// The spelling computes what the family does, has its plan once fused, and still computes the same.
inline void expect_family_plan(Speller& spelled, Speller own = family()) {
  spelled.build();
  own.build();
  Network fused = spelled.network;
  const std::string log = report_of(run_passes(fused, {}));
  Network expected = own.network;
  run_passes(expected, {});
  EXPECT_EQ(plan(fused), plan(expected)) << log << fused.to_string();
  Network unpacked = spelled.network;
  run_passes(unpacked, {.disabled = kUnpacked});
  EXPECT_LT(difference(spelled.network, unpacked), 1e-5);
}

}  // namespace bertie::spelling
