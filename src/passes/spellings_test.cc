// Any spelling of an encoder in elementary ops ends in the plan that the family's own network has, and computes the same: one row a spelling.
#include "passes/spelled_encoder_test.h"

namespace bertie::spelling {
namespace {

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

}  // namespace
}  // namespace bertie::spelling
