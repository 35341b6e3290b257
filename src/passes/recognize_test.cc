// What looks like an encoder's part and is another, and parts that one spelling has: recognised as what they are, or refused with a reason.
#include "passes/spelled_encoder_test.h"

namespace bertie::spelling {
namespace {

using testing::HasSubstr;

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
}  // namespace bertie::spelling
