// Any spelling of an encoder in elementary ops ends in the plan that the family's own network has, and computes the same.
// Long for its table: one row a spelling.
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

namespace bertie {
namespace {

using testing::HasSubstr;

constexpr int64_t kHidden = 8, kHeads = 2, kHeadDim = 4, kInner = 12, kVocabulary = 31, kPositions = 16, kLayers = 2;
constexpr double kEpsilon = 1e-5;

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
ValueId family_linear(Speller& s, ValueId x, const std::string& name, int64_t rows) {
  const int64_t columns = s.network.value(x).shape.back().size;
  return s.network.add_linear(x, s.constant(name + ".weight", {rows, columns}), s.constant(name + ".bias", {rows}), name);
}
ValueId family_embeddings(Speller& s) {
  Network& n = s.network;
  const ValueId types = n.add_input("token_type_ids", DType::i64, {"batch", "sequence"});
  const ValueId positions = n.add_input("position_ids", DType::i64, {"batch", "sequence"});
  const ValueId word = n.add_embedding(s.constant("word", {kVocabulary, kHidden}), s.ids);
  const ValueId type = n.add_embedding(s.constant("type", {2, kHidden}), types);
  const ValueId position = n.add_embedding(s.constant("position", {kPositions, kHidden}), positions);
  return s.f("add", s.f("add", word, type), position);
}
ValueId family_attention(Speller& s, ValueId x, const std::string& layer) {
  const ValueId q = family_linear(s, x, layer + ".q", kHidden);
  const ValueId k = family_linear(s, x, layer + ".k", kHidden);
  const ValueId v = family_linear(s, x, layer + ".v", kHidden);
  return s.network.add_attention(q, k, v, s.mask, kNone, kHeads, 0.5);
}
Speller family() {
  Speller s;
  s.gelu = [](Speller& t, ValueId x) { return t.network.add_gelu(x); };
  s.norm = [](Speller& t, ValueId x, ValueId gamma, ValueId beta) { return t.network.add_layer_norm(x, gamma, beta, kEpsilon); };
  s.linear = family_linear;
  s.attention = family_attention;
  s.embeddings = family_embeddings;
  return s;
}

// --- The plain spelling in elementary ops: what the TorchScript exporter writes ---
ValueId matmul_linear(Speller& s, ValueId x, const std::string& name, int64_t rows) {
  const int64_t columns = s.network.value(x).shape.back().size;
  const Tensor weight = s.weight(name + ".weight", {rows, columns});
  std::vector<float> transposed;
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t r = 0; r < rows; ++r) transposed.push_back(weight.view().as<float>()[r * columns + c]);
  }
  const ValueId product = s.network.add_matmul(x, s.network.add_constant(name, Tensor::from_floats({columns, rows}, transposed)));
  return s.f("add", s.constant(name + ".bias", {rows}), product);
}
ValueId split_heads(Speller& s, ValueId x) {
  return s.network.add_transpose(s.reshape(x, {0, 0, kHeads, kHeadDim}), {0, 2, 1, 3});
}
ValueId merge_heads(Speller& s, ValueId x) { return s.reshape(s.network.add_transpose(x, {0, 2, 1, 3}), {0, 0, kHidden}); }
ValueId keys_transposed(Speller& s, ValueId x) { return s.network.add_transpose(split_heads(s, x), {0, 1, 3, 2}); }
// (1 - mask) * -1e4, [B, 1, 1, S]
ValueId additive_mask(Speller& s, double lowest = -10000) {
  const ValueId wide = s.unsqueeze(s.unsqueeze(s.mask, {1}), {2});
  return s.f("mul", s.f("sub", s.number(1), s.network.add_cast(wide, DType::f32)), s.number(lowest));
}
ValueId plain_weights(Speller& s, ValueId scores) {
  return s.network.add_softmax(s.f("add", s.f("div", scores, s.number(2)), additive_mask(s)), -1);
}
ValueId plain_attention(Speller& s, ValueId x, const std::string& layer) {
  const ValueId q = split_heads(s, s.linear(s, x, layer + ".q", kHidden));
  const ValueId k = keys_transposed(s, s.linear(s, x, layer + ".k", kHidden));
  const ValueId v = split_heads(s, s.linear(s, x, layer + ".v", kHidden));
  return merge_heads(s, s.network.add_matmul(s.weights(s, s.network.add_matmul(q, k)), v));
}
ValueId plain_gelu(Speller& s, ValueId x) {
  const ValueId gate = s.f("add", s.u("erf", s.f("div", x, s.number(std::sqrt(2.0)))), s.number(1));
  return s.f("mul", s.f("mul", x, gate), s.number(0.5));
}
ValueId plain_norm(Speller& s, ValueId x, ValueId gamma, ValueId beta) {
  const ValueId centred = s.f("sub", x, s.mean(x));
  const ValueId variance = s.mean(s.f("pow", centred, s.number(2)));
  const ValueId unit = s.f("div", centred, s.u("sqrt", s.f("add", variance, s.number(kEpsilon))));
  return s.f("add", s.f("mul", unit, gamma), beta);
}
Speller plain() {
  Speller s;
  s.gelu = plain_gelu;
  s.norm = plain_norm;
  s.linear = matmul_linear;
  s.attention = plain_attention;
  s.weights = plain_weights;
  s.embeddings = family_embeddings;
  return s;
}

std::vector<std::string> plan(const Network& network) {
  std::vector<std::string> steps;
  for (NodeId id : network.order()) {
    const Node& node = network.node(id);
    std::string step = node.op;
    for (const auto& [name, attribute] : node.attributes) step += fmt::format(" {}={}", name, to_string(attribute));
    steps.push_back(step + " " + to_string(network.value(node.outputs[0]).shape));
  }
  return steps;
}

std::string report_of(const std::vector<PassReport>& reports) {
  std::string text;
  for (const PassReport& report : reports) {
    for (const std::string& line : report.lines) text += report.name + ": " + line + "\n";
  }
  return text;
}

const std::vector<std::string> kUnpacked = {"remove_padding", "select_rows"};

// Largest difference between the two networks' outputs at attended rows, over batches with padding on both sides and holes.
double difference(const Network& original, const Network& rewritten) {
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
void expect_family_plan(Speller& spelled, Speller own = family()) {
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

struct Spelling {
  const char* name;
  std::function<void(Speller&)> change;
};
void PrintTo(const Spelling& spelling, std::ostream* out) { *out << spelling.name; }

using G = Speller;
const Spelling kSpellings[] = {
    {"plain", [](G&) {}},
    {"family_but_norm",
     [](G& s) {
       auto p = plain_norm;
       s = family();
       s.norm = p;
     }},
    // GELU
    {"gelu_half_first",
     [](G& s) {
       s.gelu = [](G& t, ValueId x) {
         return t.f("mul", t.f("mul", t.number(0.5), x),
                    t.f("add", t.number(1, {1}), t.u("erf", t.f("mul", x, t.number(std::sqrt(0.5), {1, 1})))));
       };
     }},
    {"gelu_cdf",
     [](G& s) {
       s.gelu = [](G& t, ValueId x) {
         return t.f("mul", t.f("mul", t.f("add", t.u("erf", t.f("mul", t.number(0.7071), x)), t.number(1)), t.number(0.5)), x);
       };
     }},
    {"gelu_halves",
     [](G& s) {
       s.gelu = [](G& t, ValueId x) {
         const ValueId half = t.f("div", x, t.number(2));
         return t.f("add", half, t.f("mul", half, t.u("erf", t.f("div", x, t.number(1.41421354)))));
       };
     }},
    // LayerNorm
    {"norm_mul",
     [](G& s) {
       s.norm = [](G& t, ValueId x, ValueId gamma, ValueId beta) {
         const ValueId c = t.f("sub", x, t.mean(x));
         const ValueId v = t.mean(t.f("mul", c, c));
         return t.f("add", beta,
                    t.f("mul", gamma, t.f("mul", c, t.u("reciprocal", t.u("sqrt", t.f("add", t.number(kEpsilon), v))))));
       };
     }},
    {"norm_folded",
     [](G& s) {
       s.norm = [](G& t, ValueId x, ValueId gamma, ValueId beta) {
         const ValueId m = t.mean(x);
         const ValueId c = t.f("sub", x, m);
         const ValueId scale =
             t.f("mul", t.f("pow", t.f("add", t.mean(t.f("mul", c, c)), t.number(kEpsilon, {1})), t.number(-0.5)), gamma);
         return t.f("add", t.f("mul", x, scale), t.f("sub", beta, t.f("mul", m, scale)));
       };
     }},
    {"norm_sum",
     [](G& s) {
       s.norm = [](G& t, ValueId x, ValueId gamma, ValueId beta) {
         const std::vector<int64_t> last = {2};
         const ValueId m = t.f("div", t.network.add_reduce("sum", x, last, true), t.number(kHidden));
         const ValueId c = t.f("sub", x, m);
         const ValueId d = t.f("sub", m, x);
         const ValueId v = t.f("div", t.network.add_reduce("sum_square", d, last, true), t.number(kHidden));
         return t.f("add", t.f("mul", t.f("div", c, t.u("sqrt", t.f("add", v, t.number(kEpsilon)))), gamma), beta);
       };
     }},
    // linear
    {"bias_after",
     [](G& s) {
       s.linear = [](G& t, ValueId x, const std::string& name, int64_t rows) {
         const int64_t columns = t.network.value(x).shape.back().size;
         return t.f("add",
                    t.network.add_matmul(x, t.network.add_transpose(t.constant(name + ".weight", {rows, columns}), {1, 0})),
                    t.constant(name + ".bias", {rows}));
       };
     }},
    {"collapsed",
     [](G& s) {
       s.linear = [](G& t, ValueId x, const std::string& name, int64_t rows) {
         const int64_t columns = t.network.value(x).shape.back().size;
         const ValueId y = matmul_linear(t, t.reshape(x, {-1, columns}), name, rows);
         const ValueId shape = t.network.add_concat({t.at(x, 0), t.at(x, 1), t.integers({rows})}, 0);
         return t.network.add_node("reshape", {y, shape}, {})[0];
       };
     }},
    // heads
    {"shape_computed",
     [](G& s) {
       s.attention = [](G& t, ValueId x, const std::string& layer) {
         const auto split = [&](const std::string& name) {
           const ValueId y = t.linear(t, x, layer + name, kHidden);
           return t.network.add_transpose(
               t.network.add_node(
                   "reshape",
                   {y, t.network.add_concat({t.at(y, 0), t.at(y, 1), t.integers({kHeads}), t.integers({kHeadDim})}, 0)}, {})[0],
               {0, 2, 1, 3});
         };
         const ValueId q = split(".q");
         const ValueId k = t.network.add_transpose(split(".k"), {0, 1, 3, 2});
         const ValueId v = split(".v");
         const ValueId c =
             t.network.add_transpose(t.network.add_matmul(t.weights(t, t.network.add_matmul(q, k)), v), {0, 2, 1, 3});
         return t.network.add_node("reshape", {c, t.network.add_concat({t.at(c, 0), t.at(c, 1), t.integers({-1})}, 0)}, {})[0];
       };
     }},
    {"three_axes",
     [](G& s) {
       s.attention = [](G& t, ValueId x, const std::string& layer) {
         const auto split = [&](const std::string& name) {
           const ValueId y = split_heads(t, t.linear(t, x, layer + name, kHidden));
           return t.network.add_node(
               "reshape", {y, t.network.add_concat({t.integers({-1}), t.at(t.ids, 1), t.integers({kHeadDim})}, 0)}, {})[0];
         };
         const ValueId q = split(".q");
         const ValueId k = t.network.add_transpose(split(".k"), {0, 2, 1});
         const ValueId v = split(".v");
         const ValueId scores = t.network.add_matmul(q, k);
         const ValueId four = t.network.add_node(
             "reshape",
             {scores, t.network.add_concat({t.integers({-1}), t.integers({kHeads}), t.at(t.ids, 1), t.at(t.ids, 1)}, 0)}, {})[0];
         const ValueId three = t.network.add_node(
             "reshape", {t.weights(t, four), t.network.add_concat({t.integers({-1}), t.at(t.ids, 1), t.at(t.ids, 1)}, 0)}, {})[0];
         const ValueId c = t.network.add_node(
             "reshape",
             {t.network.add_matmul(three, v),
              t.network.add_concat({t.integers({-1}), t.integers({kHeads}), t.at(t.ids, 1), t.integers({kHeadDim})}, 0)},
             {})[0];
         return merge_heads(t, c);
       };
     }},
    {"merged_qkv_split",
     [](G& s) {
       s.attention = [](G& t, ValueId x, const std::string& layer) {
         std::vector<float> weight, bias;
         for (const char* name : {".q", ".k", ".v"}) {
           const Tensor w = t.weight(layer + name + ".weight", {kHidden, kHidden});
           const Tensor b = t.weight(layer + name + ".bias", {kHidden});
           weight.insert(weight.end(), w.view().as<float>(), w.view().as<float>() + kHidden * kHidden);
           bias.insert(bias.end(), b.view().as<float>(), b.view().as<float>() + kHidden);
         }
         const ValueId qkv =
             t.network.add_linear(x, t.network.add_constant("qkv", Tensor::from_floats({3 * kHidden, kHidden}, weight)),
                                  t.network.add_constant("qkv_bias", Tensor::from_floats({3 * kHidden}, bias)));
         const auto parts = t.network.add_node("split", {qkv}, {{"axis", int64_t{-1}}, {"parts", int64_t{3}}});
         return merge_heads(
             t, t.network.add_matmul(t.weights(t, t.network.add_matmul(split_heads(t, parts[0]), keys_transposed(t, parts[1]))),
                                     split_heads(t, parts[2])));
       };
     }},
    {"merged_qkv_axis",
     [](G& s) {
       s.attention = [](G& t, ValueId x, const std::string& layer) {
         std::vector<float> weight, bias;  // rows by head, then q, k, v
         for (int64_t h = 0; h < kHeads; ++h)
           for (const char* name : {".q", ".k", ".v"}) {
             const Tensor w = t.weight(layer + name + ".weight", {kHidden, kHidden});
             const Tensor b = t.weight(layer + name + ".bias", {kHidden});
             const float* rows = w.view().as<float>() + h * kHeadDim * kHidden;
             weight.insert(weight.end(), rows, rows + kHeadDim * kHidden);
             const float* own = b.view().as<float>() + h * kHeadDim;
             bias.insert(bias.end(), own, own + kHeadDim);
           }
         const ValueId qkv =
             t.network.add_linear(x, t.network.add_constant("qkv", Tensor::from_floats({3 * kHidden, kHidden}, weight)),
                                  t.network.add_constant("qkv_bias", Tensor::from_floats({3 * kHidden}, bias)));
         const ValueId five = t.network.add_transpose(t.reshape(qkv, {0, 0, kHeads, 3, kHeadDim}), {3, 0, 2, 1, 4});
         const auto part = [&](int64_t index) { return t.network.add_gather(five, t.integer(index), 0); };
         return merge_heads(
             t, t.network.add_matmul(t.weights(t, t.network.add_matmul(part(0), t.network.add_transpose(part(1), {0, 1, 3, 2}))),
                                     part(2)));
       };
     }},
    // scale
    {"scale_on_query",
     [](G& s) {
       s.attention = [](G& t, ValueId x, const std::string& layer) {
         const ValueId q = split_heads(t, t.f("mul", t.linear(t, x, layer + ".q", kHidden), t.number(0.5)));
         const ValueId k = keys_transposed(t, t.linear(t, x, layer + ".k", kHidden));
         const ValueId v = split_heads(t, t.linear(t, x, layer + ".v", kHidden));
         return merge_heads(
             t, t.network.add_matmul(t.network.add_softmax(t.f("add", t.network.add_matmul(q, k), additive_mask(t)), -1), v));
       };
     }},
    {"sdpa",
     [](G& s) {
       s.attention = [](G& t, ValueId x, const std::string& layer) {
         const ValueId root = t.number(std::sqrt(0.5));
         const ValueId q = t.f("mul", split_heads(t, t.linear(t, x, layer + ".q", kHidden)), root);
         const ValueId k = t.f("mul", keys_transposed(t, t.linear(t, x, layer + ".k", kHidden)), root);
         const ValueId v = split_heads(t, t.linear(t, x, layer + ".v", kHidden));
         const ValueId p =
             t.network.add_softmax(t.f("add", t.network.add_matmul(q, k), additive_mask(t, -3.4028234663852886e38)), -1);
         return merge_heads(t, t.network.add_matmul(t.network.add_where(t.u("is_nan", p), t.number(0), p), v));
       };
     }},
    // mask
    {"mask_where",
     [](G& s) {
       s.weights = [](G& t, ValueId scores) {
         const ValueId off = t.f("equal", t.unsqueeze(t.mask, {1, 2}), t.integer(0));
         return t.network.add_softmax(t.network.add_where(off, t.number(-INFINITY), t.f("mul", scores, t.number(0.5))), -1);
       };
     }},
    {"mask_expanded",
     [](G& s) {
       s.weights = [](G& t, ValueId scores) {
         const ValueId wide =
             t.network.add_node("expand",
                                {t.unsqueeze(t.mask, {1, 2}),
                                 t.network.add_concat({t.at(t.ids, 0), t.integers({1}), t.at(t.ids, 1), t.at(t.ids, 1)}, 0)},
                                {})[0];
         const ValueId inverted = t.f("sub", t.number(1), t.network.add_cast(wide, DType::f32));
         const ValueId filled =
             t.network.add_where(t.network.add_cast(inverted, DType::boolean), t.number(-3.4028234663852886e38), inverted);
         return t.network.add_softmax(t.f("add", t.f("mul", scores, t.number(0.5)), filled), -1);
       };
     }},
    {"mask_multiplied",
     [](G& s) {
       s.weights = [](G& t, ValueId scores) {
         const ValueId m = t.network.add_cast(t.unsqueeze(t.mask, {1, 2}), DType::f32);
         const ValueId kept = t.f("mul", t.f("mul", scores, t.number(0.5)), m);
         return t.network.add_softmax(t.f("sub", kept, t.f("mul", t.f("sub", t.number(1), m), t.number(1e9))), -1);
       };
     }},
    {"mask_like_scores",
     [](G& s) {
       s.weights = [](G& t, ValueId scores) {
         const ValueId off = t.network.add_node(
             "expand",
             {t.f("equal", t.reshape(t.mask, {0, 1, 1, -1}), t.integer(0)), t.network.add_node("shape", {scores}, {})[0]}, {})[0];
         return t.network.add_softmax(t.network.add_where(off, t.number(-1e30), t.f("div", scores, t.number(2))), -1);
       };
     }},
    // embeddings
    {"gathered_in_any_order",
     [](G& s) {
       s.embeddings = [](G& t) {
         const ValueId types = t.network.add_input("token_type_ids", DType::i64, {"batch", "sequence"});
         const ValueId range = t.network.add_node("range", {t.integer(0), t.length(), t.integer(1)}, {})[0];
         const ValueId position = t.network.add_gather(t.constant("position", {kPositions, kHidden}), t.unsqueeze(range, {0}), 0);
         const ValueId word = t.network.add_gather(t.constant("word", {kVocabulary, kHidden}), t.ids, 0);
         const ValueId type = t.network.add_gather(t.constant("type", {2, kHidden}), t.network.add_cast(types, DType::i64), 0);
         return t.f("add", position, t.f("add", type, word));
       };
     }},
    {"positions_sliced",
     [](G& s) {
       s.embeddings = [](G& t) {
         const ValueId types = t.network.add_input("token_type_ids", DType::i64, {"batch", "sequence"});
         std::vector<int64_t> buffer(kPositions);
         for (int64_t i = 0; i < kPositions; ++i) buffer[static_cast<size_t>(i)] = i;
         const ValueId all = t.network.add_constant("buffer", Tensor::from_int64s({1, kPositions}, buffer));
         const ValueId ids = t.network.add_node("slice", {all, t.integers({0}), t.at(t.ids, 1), t.integers({1})}, {})[0];
         const ValueId position = t.network.add_gather(t.constant("position", {kPositions, kHidden}), ids, 0);
         const ValueId word = t.network.add_gather(t.constant("word", {kVocabulary, kHidden}), t.ids, 0);
         return t.f("add", t.f("add", word, t.network.add_gather(t.constant("type", {2, kHidden}), types, 0)), position);
       };
     }},
    {"position_rows",
     [](G& s) {
       s.embeddings = [](G& t) {
         const ValueId types = t.network.add_input("token_type_ids", DType::i64, {"batch", "sequence"});
         const ValueId rows = t.network.add_node(
             "slice", {t.constant("position", {kPositions, kHidden}), t.integers({0}), t.at(t.ids, 1), t.integers({0})}, {})[0];
         const ValueId word = t.network.add_gather(t.constant("word", {kVocabulary, kHidden}), t.ids, 0);
         return t.f("add", t.f("add", word, t.network.add_gather(t.constant("type", {2, kHidden}), types, 0)),
                    t.unsqueeze(rows, {0}));
       };
     }},
};

class Spellings : public testing::TestWithParam<Spelling> {};

TEST_P(Spellings, EndInTheFamilysPlan) {
  Speller spelled = plain();
  GetParam().change(spelled);
  expect_family_plan(spelled);
}

INSTANTIATE_TEST_SUITE_P(All, Spellings, testing::ValuesIn(kSpellings),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Recognize, GeluTanhAndSilu) {
  const auto tanh_gelu = [](Speller& s, ValueId x, bool power) {
    const ValueId cube = power ? s.f("pow", x, s.number(3)) : s.f("mul", s.f("mul", x, x), x);
    const ValueId inner = s.f("mul", s.number(std::sqrt(2 / M_PI)), s.f("add", x, s.f("mul", s.number(0.044715), cube)));
    return s.f("mul", s.f("mul", s.number(0.5), x), s.f("add", s.number(1), s.u("tanh", inner)));
  };
  for (bool power : {false, true}) {
    Speller spelled = plain();
    spelled.gelu = [&](Speller& s, ValueId x) { return tanh_gelu(s, x, power); };
    Speller own = family();
    own.gelu = [](Speller& s, ValueId x) { return s.network.add_gelu(x, "tanh"); };
    expect_family_plan(spelled, own);
  }
  Speller spelled = plain();
  spelled.gelu = [](Speller& s, ValueId x) { return s.f("mul", s.u("sigmoid", x), x); };
  Speller own = family();
  own.gelu = [](Speller& s, ValueId x) { return s.u("silu", x); };
  expect_family_plan(spelled, own);
}

TEST(Recognize, ASigmoidApproximationIsNoGelu) {
  Speller spelled = plain();
  spelled.gelu = [](Speller& s, ValueId x) { return s.f("mul", x, s.u("sigmoid", s.f("mul", s.number(1.702), x))); };
  spelled.build();
  const std::string log = report_of(run_passes(spelled.network, {.disabled = kUnpacked}));
  EXPECT_THAT(log, HasSubstr("fuse_gelu: refused"));
  EXPECT_THAT(log, HasSubstr("differs from gelu"));
}

TEST(Recognize, NormsThatAreNotLayerNorm) {
  const auto log_of = [](auto norm) {
    Speller spelled = plain();
    spelled.norm = norm;
    spelled.build();
    return report_of(run_passes(spelled.network, {.disabled = kUnpacked}));
  };
  EXPECT_THAT(log_of([](Speller& s, ValueId x, ValueId gamma, ValueId beta) {
                const ValueId m = s.mean(x);
                const ValueId v = s.f("sub", s.mean(s.f("mul", x, x)), s.f("mul", m, m));
                return s.f("add", s.f("mul", s.f("div", s.f("sub", x, m), s.u("sqrt", s.f("add", v, s.number(kEpsilon)))), gamma),
                           beta);
              }),
              HasSubstr("E[x^2] - E[x]^2"));
  EXPECT_THAT(log_of([](Speller& s, ValueId x, ValueId gamma, ValueId) {
                return s.f("mul", s.f("div", x, s.u("sqrt", s.f("add", s.mean(s.f("mul", x, x)), s.number(kEpsilon)))), gamma);
              }),
              HasSubstr("RMS"));
}

TEST(Recognize, LayerNormWithoutGammaOrBeta) {
  Speller spelled = plain();
  spelled.norm = [](Speller& s, ValueId x, ValueId, ValueId) {
    const ValueId c = s.f("sub", x, s.mean(x));
    return s.f("div", c, s.u("sqrt", s.f("add", s.mean(s.f("mul", c, c)), s.number(kEpsilon))));
  };
  expect_family_plan(spelled);
}

TEST(Recognize, MasksThatAreNot) {
  const auto log_of = [](auto weights) {
    Speller spelled = plain();
    spelled.weights = weights;
    spelled.build();
    return report_of(run_passes(spelled.network, {.disabled = kUnpacked}));
  };
  // Causal: key k is attended by queries q >= k alone.
  EXPECT_THAT(log_of([](Speller& s, ValueId scores) {
                const ValueId range = s.network.add_node("range", {s.integer(0), s.length(), s.integer(1)}, {})[0];
                const ValueId later = s.f("greater", s.unsqueeze(range, {0}), s.unsqueeze(range, {1}));
                return s.network.add_softmax(s.network.add_where(later, s.number(-1e9), s.f("add", scores, additive_mask(s))),
                                             -1);
              }),
              HasSubstr("the mask depends on query position"));
  EXPECT_THAT(log_of([](Speller& s, ValueId scores) { return s.network.add_softmax(s.f("add", scores, additive_mask(s)), -2); }),
              HasSubstr("is not over the keys"));
  // Padded keys lose a little weight only.
  EXPECT_THAT(
      log_of([](Speller& s, ValueId scores) { return s.network.add_softmax(s.f("add", scores, additive_mask(s, -2)), -1); }),
      HasSubstr("is attended where the mask is 0"));
}

TEST(Recognize, PositionsThatCountTokens) {
  constexpr int64_t kPadding = 1;
  Speller spelled = plain();
  spelled.embeddings = [](Speller& s) {
    const ValueId real = s.network.add_cast(s.u("not", s.f("equal", s.ids, s.integer(kPadding))), DType::i32);
    const ValueId counted = s.f("mul", s.network.add_node("cumulative_sum", {real, s.integer(1)}, {})[0], real);
    const ValueId positions = s.f("add", s.network.add_cast(counted, DType::i64), s.integer(kPadding));
    const ValueId zeros =
        s.network.add_node("constant_of_shape", {s.network.add_node("shape", {s.ids}, {})[0], s.integers({0})}, {})[0];
    const ValueId word = s.network.add_gather(s.constant("word", {kVocabulary, kHidden}), s.ids, 0);
    const ValueId type = s.network.add_gather(s.constant("type", {2, kHidden}), zeros, 0);
    return s.f("add", s.f("add", word, type), s.network.add_gather(s.constant("position", {kPositions, kHidden}), positions, 0));
  };
  expect_family_plan(spelled);
  Network fused = spelled.network;
  run_passes(fused, {});
  ASSERT_TRUE(fused.position_rule().has_value());
  EXPECT_EQ(*fused.position_rule(), (PositionRule{2, 1}));
}

TEST(Recognize, ARelativeBiasByOffset) {
  const Tensor table = Speller().weight("buckets", {5, kHeads});
  const auto bucket = [](int64_t offset) { return std::clamp<int64_t>(offset, -2, 2) + 2; };
  Speller spelled = plain();
  spelled.weights = [&](Speller& s, ValueId scores) {
    const ValueId range = s.network.add_node("range", {s.integer(0), s.length(), s.integer(1)}, {})[0];
    const ValueId offsets = s.f("sub", s.unsqueeze(range, {0}), s.unsqueeze(range, {1}));
    const ValueId buckets = s.f("add", s.f("max", s.f("min", offsets, s.integer(2)), s.integer(-2)), s.integer(2));
    const ValueId rows = s.network.add_gather(s.network.add_constant("buckets", table), buckets, 0);
    const ValueId bias = s.unsqueeze(s.network.add_transpose(rows, {2, 0, 1}), {0});
    return s.network.add_softmax(s.f("add", s.f("add", s.f("div", scores, s.number(2)), bias), additive_mask(s)), -1);
  };
  Speller own = family();
  own.attention = [&](Speller& s, ValueId x, const std::string& layer) {
    std::vector<float> bias;
    for (int64_t h = 0; h < kHeads; ++h) {
      for (int64_t offset = 1 - kPositions; offset < kPositions; ++offset)
        bias.push_back(table.view().as<float>()[bucket(offset) * kHeads + h]);
    }
    const ValueId relative = s.network.add_constant("bias", Tensor::from_floats({kHeads, 2 * kPositions - 1}, bias));
    const ValueId q = family_linear(s, x, layer + ".q", kHidden);
    const ValueId k = family_linear(s, x, layer + ".k", kHidden);
    const ValueId v = family_linear(s, x, layer + ".v", kHidden);
    return s.network.add_attention(q, k, v, s.mask, relative, kHeads, 0.5);
  };
  expect_family_plan(spelled, own);
  Network fused = spelled.network;
  own.build();
  run_passes(fused, {.disabled = kUnpacked});
  EXPECT_LT(difference(own.network, fused), 1e-5);
}

TEST(Recognize, PoolingFromPieces) {
  struct Pooling {
    const char* mode;
    std::function<ValueId(Speller&, ValueId)> spell;
  };
  const std::vector<int64_t> rows = {1};
  const Pooling poolings[] = {
      {"mean",
       [&](Speller& s, ValueId x) {
         const ValueId wide = s.network.add_cast(
             s.network.add_node("expand", {s.unsqueeze(s.mask, {-1}), s.network.add_node("shape", {x}, {})[0]}, {})[0],
             DType::f32);
         const ValueId sum = s.network.add_reduce("sum", s.f("mul", x, wide), rows, false);
         const ValueId count =
             s.network.add_node("clip", {s.network.add_reduce("sum", wide, rows, false), s.number(1e-9)}, {})[0];
         return s.f("div", sum, count);
       }},
      {"max",
       [&](Speller& s, ValueId x) {
         const ValueId off = s.f("equal", s.unsqueeze(s.mask, {2}), s.integer(0));
         return s.network.add_reduce("max", s.network.add_where(off, s.number(-1e9), x), rows, false);
       }},
      {"cls", [](Speller& s, ValueId x) { return s.network.add_gather(x, s.integer(0), 1); }},
      {"cls",
       [](Speller& s, ValueId x) {
         return s.network.add_node("squeeze", {s.network.add_slice(x, 1, 0, 1), s.integers({1})}, {})[0];
       }},
  };
  for (const Pooling& pooling : poolings) {
    Speller spelled = plain();
    spelled.build();
    const ValueId pooled = pooling.spell(spelled, spelled.network.outputs()[0].value);
    const ValueId length = spelled.network.add_reduce("l2", pooled, std::vector<int64_t>{1}, true);
    const ValueId floor = spelled.network.add_node("clip", {length, spelled.number(1e-12)}, {})[0];
    const ValueId unit = spelled.f(
        "div", pooled, spelled.network.add_node("expand", {floor, spelled.network.add_node("shape", {pooled}, {})[0]}, {})[0]);
    spelled.network.add_output("sentence_embedding", unit);
    spelled.network.keep_outputs(std::vector<std::string>{"sentence_embedding"});
    Network fused = spelled.network;
    const std::string log = report_of(run_passes(fused, {.disabled = kUnpacked}));
    const std::string text = fused.to_string();
    EXPECT_THAT(text, HasSubstr(std::string("mode=") + pooling.mode)) << log;
    EXPECT_THAT(text, HasSubstr("normalize")) << log;
    EXPECT_THAT(text, HasSubstr("epsilon=1e-12")) << log;
    EXPECT_EQ(text.find("\nelementwise"), std::string::npos) << text;
    EXPECT_LT(difference(spelled.network, fused), 1e-5) << pooling.mode;
  }
}

TEST(Recognize, AFusedNetworkPassesThrough) {
  Speller own = family();
  own.build();
  const std::string before = own.network.to_string();
  std::vector<std::string> fusing;
  for (const Pass& pass : all_passes()) {
    for (std::string_view kept : {"canonicalize", "merge_duplicates", "fuse_gelu", "fuse_layer_norm", "fuse_linear",
                                  "recognize_positions", "fuse_attention", "fuse_pool", "fuse_normalize"}) {
      if (pass.name == kept) goto next;
    }
    fusing.emplace_back(pass.name);
  next:;
  }
  run_passes(own.network, {.disabled = fusing});
  EXPECT_EQ(own.network.to_string(), before);
}

}  // namespace
}  // namespace bertie
