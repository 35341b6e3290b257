// Attention in pieces whose scores get a bias by query and key becomes one op, and gives what it gave.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "bertie/network.h"
#include "passes/pass.h"
#include "passes/probe.h"

namespace bertie {
namespace {

using testing::HasSubstr;

constexpr int64_t kBatch = 2, kColumns = 5, kHeads = 2, kHeadDim = 4, kWidth = kHeads * kHeadDim;

Tensor random_floats(const Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (float& value : values) value = normal(random);
  return Tensor::from_floats(shape, values);
}

struct Pieces {
  Network network;
  std::map<ValueId, Tensor> given;
  ValueId scores = kNone;

  // `weigh`: from scores [batch, heads, sequence, sequence] to weights.
  explicit Pieces(const std::function<ValueId(Pieces&)>& weigh) {
    const ValueId q = rows(1), k = rows(2), v = rows(3);
    scores = network.add_matmul(heads(q), network.add_transpose(heads(k), {0, 1, 3, 2}), "scores");
    const ValueId context = network.add_transpose(network.add_matmul(weigh(*this), heads(v), "context"), {0, 2, 1, 3});
    network.add_output("y", network.add_reshape(context, std::vector<int64_t>{0, 0, kWidth}));
  }

  ValueId rows(uint32_t seed) { return input({"batch", "sequence", kWidth}, random_floats({kBatch, kColumns, kWidth}, seed)); }
  ValueId input(const SymbolicShape& shape, const Tensor& tensor) {
    const ValueId value = network.add_input(fmt::format("input_{}", given.size()), tensor.dtype, shape);
    given[value] = tensor;
    return value;
  }
  ValueId heads(ValueId x) {
    return network.add_transpose(network.add_reshape(x, std::vector<int64_t>{0, 0, kHeads, kHeadDim}), {0, 2, 1, 3});
  }
  ValueId number(float x) { return network.add_constant("number", Tensor::from_floats({}, {&x, 1})); }
  ValueId f(const char* function, ValueId a, ValueId b) { return network.add_elementwise(function, a, b); }
  ValueId softmax(ValueId x) { return network.add_softmax(x, -1); }
  ValueId bias(const SymbolicShape& shape, const Shape& extents) { return input(shape, random_floats(extents, 9)); }
  ValueId by_query_and_key() { return bias({1, 1, "sequence", "sequence"}, {1, 1, kColumns, kColumns}); }
  // [sequence, sequence]: whether the key is behind the query.
  ValueId later() {
    std::vector<float> later;
    for (int64_t i = 0; i < kColumns * kColumns; ++i) later.push_back(i % kColumns > i / kColumns ? 1.0f : 0.0f);
    return f("greater", input({"sequence", "sequence"}, Tensor::from_floats({kColumns, kColumns}, later)), number(0));
  }
};

int64_t attentions(const Network& network) {
  int64_t count = 0;
  for (const NodeId id : network.order()) count += network.node(id).op == "attention";
  return count;
}

std::vector<float> result(const Network& network, const std::map<ValueId, Tensor>& given) {
  const auto y = try_evaluate(network, network.outputs()[0].value, given);
  if (!y) return {};
  return {y->view().as<float>(), y->view().as<float>() + y->shape.elements()};
}

void expect_one_op(const char* name, const std::function<ValueId(Pieces&)>& weigh) {
  const Pieces pieces(weigh);
  Network fused = pieces.network;
  std::string log;
  for (const PassReport& report : run_logical_passes(fused, {}))
    for (const std::string& line : report.lines) log += line + "\n";
  EXPECT_EQ(attentions(fused), 1) << name << "\n" << log;
  EXPECT_THAT(log, HasSubstr("a bias by query and key")) << name;
  const std::vector<float> expected = result(pieces.network, pieces.given), found = result(fused, pieces.given);
  ASSERT_EQ(expected.size(), static_cast<size_t>(kBatch * kColumns * kWidth)) << name;
  ASSERT_EQ(found.size(), expected.size()) << name;
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-5) << name << ", " << i;
}

TEST(AttentionBias, HoweverItIsSpelled) {
  using P = Pieces;
  expect_one_op("added", [](P& p) { return p.softmax(p.f("add", p.scores, p.by_query_and_key())); });
  expect_one_op("added in front", [](P& p) { return p.softmax(p.f("add", p.by_query_and_key(), p.scores)); });
  expect_one_op("beside a scale",
                [](P& p) { return p.softmax(p.f("add", p.f("div", p.scores, p.number(2)), p.by_query_and_key())); });
  expect_one_op("by head", [](P& p) {
    return p.softmax(p.f("add", p.scores, p.bias({1, kHeads, "sequence", "sequence"}, {1, kHeads, kColumns, kColumns})));
  });
  expect_one_op("by sequence and head", [](P& p) {
    return p.softmax(
        p.f("add", p.scores, p.bias({"batch", kHeads, "sequence", "sequence"}, {kBatch, kHeads, kColumns, kColumns})));
  });
  expect_one_op("of rank 2", [](P& p) {
    return p.softmax(p.f("add", p.scores, p.bias({"sequence", "sequence"}, {kColumns, kColumns})));
  });
  expect_one_op("of keys alone", [](P& p) {
    return p.softmax(p.f("add", p.scores, p.bias({"batch", 1, 1, "sequence"}, {kBatch, 1, 1, kColumns})));
  });
  expect_one_op("two of them", [](P& p) {
    const ValueId of_keys = p.bias({"batch", 1, 1, "sequence"}, {kBatch, 1, 1, kColumns});
    return p.softmax(p.f("add", p.f("add", p.scores, p.by_query_and_key()), of_keys));
  });
  expect_one_op("causal", [](P& p) { return p.softmax(p.network.add_where(p.later(), p.number(-1e9f), p.scores)); });
  expect_one_op("causal, kept where it is so", [](P& p) {
    return p.softmax(p.network.add_where(p.network.add_unary("not", p.later()), p.scores, p.number(-1e9f)));
  });
  expect_one_op("causal, and added", [](P& p) {
    return p.softmax(p.network.add_where(p.later(), p.number(-1e9f), p.f("add", p.scores, p.by_query_and_key())));
  });
}

TEST(AttentionBias, WhatIsNoBiasStaysInPieces) {
  using P = Pieces;
  const auto check = [](const char* name, const std::function<ValueId(Pieces&)>& weigh) {
    Pieces pieces(weigh);
    run_logical_passes(pieces.network, {});
    EXPECT_EQ(attentions(pieces.network), 0) << name;
  };
  check("scaled behind it", [](P& p) { return p.softmax(p.f("mul", p.f("add", p.scores, p.by_query_and_key()), p.number(2))); });
  check("multiplied by it", [](P& p) { return p.softmax(p.f("mul", p.scores, p.by_query_and_key())); });
  check("of the scores", [](P& p) { return p.softmax(p.f("add", p.scores, p.f("mul", p.scores, p.by_query_and_key()))); });
  check("a choice that loses little", [](P& p) { return p.softmax(p.network.add_where(p.later(), p.number(-3), p.scores)); });
  check("over the queries", [](P& p) { return p.network.add_softmax(p.f("add", p.scores, p.by_query_and_key()), -2); });
  check("of another extent", [](P& p) {
    return p.softmax(p.f("add", p.scores, p.bias({1, 1, "sequence", 5}, {1, 1, kColumns, kColumns})));
  });
}

}  // namespace
}  // namespace bertie
