#include "reference/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/message_of_test.h"
#include "network/concrete_rule.h"

namespace bertie {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<float> floats(const Tensor& tensor) {
  const float* data = tensor.view().as<float>();
  return {data, data + tensor.shape.elements()};
}
std::vector<int64_t> longs(const Tensor& tensor) {
  const int64_t* data = tensor.view().as<int64_t>();
  return {data, data + tensor.shape.elements()};
}

struct EvaluateTest : testing::Test {
  Network network;
  ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  ValueId mask = network.add_input("attention_mask", DType::i64, {"batch", "sequence"});
  Tensor given = Tensor::from_int64s({2, 3}, std::array<int64_t, 6>{1, 1, 0, 0, 1, 1});

  ValueId scalar(float value) { return network.add_constant("scalar", Tensor::from_floats({}, std::array{value})); }
  ValueId number(int64_t value) { return network.add_constant("number", Tensor::from_int64s({}, std::array{value})); }
  Tensor value_of(ValueId id, const std::map<ValueId, Tensor>& inputs) { return evaluate(network, std::array{id}, inputs)[0]; }
};

// BERT's additive mask, (1 - mask) * lowest over [batch, 1, 1, sequence].
TEST_F(EvaluateTest, AnAdditiveMask) {
  const std::array<int64_t, 2> axes = {1, 2};
  const ValueId wide = network.add_node("unsqueeze", {mask, network.add_integers(axes)}, {})[0];
  const ValueId inverted = network.add_elementwise("sub", scalar(1), network.add_cast(wide, DType::f32));
  const ValueId bias = network.add_elementwise("mul", inverted, scalar(-1e4f));
  const Tensor result = value_of(bias, {{mask, given}});
  EXPECT_EQ(result.shape, Shape({2, 1, 1, 3}));
  EXPECT_THAT(floats(result), ElementsAre(-0.0f, -0.0f, -1e4f, -1e4f, -0.0f, -0.0f));
}

// RoBERTa's positions: cumsum(mask) * mask + 1.
TEST_F(EvaluateTest, PositionsFromTheMask) {
  const ValueId sums = network.add_node("cumulative_sum", {mask, number(1)}, {})[0];
  const ValueId positions = network.add_elementwise("add", network.add_elementwise("mul", sums, mask), number(1));
  EXPECT_THAT(longs(value_of(positions, {{mask, given}})), ElementsAre(2, 3, 1, 1, 2, 3));
}

TEST_F(EvaluateTest, ExtentsOfAMissingInputComeFromTheSymbols) {
  const ValueId shape = network.add_node("shape", {ids}, {})[0];
  const ValueId ones = network.add_node("constant_of_shape", {shape, number(7)}, {})[0];
  const Tensor result = value_of(ones, {{mask, given}});
  EXPECT_EQ(result.shape, Shape({2, 3}));
  EXPECT_THAT(longs(result), ElementsAre(7, 7, 7, 7, 7, 7));
  // A product of them too.
  const ValueId size = network.add_node("size", {ids}, {})[0];
  const ValueId twice = network.add_elementwise("mul", size, number(2));
  EXPECT_THAT(longs(value_of(twice, {{mask, given}})), ElementsAre(12));
  // Without any input that binds them they are not known.
  EXPECT_THAT(message_of([&] { value_of(ones, {}); }), HasSubstr("input_ids"));
}

TEST_F(EvaluateTest, NothingIsComputedOnlyToBeMeasured) {
  const ValueId table = network.add_constant("table", Tensor::from_floats({1, 2}, std::array{1.0f, 2.0f}));
  const ValueId hidden = network.add_gather(table, ids, 0);
  const ValueId shape = network.add_node("shape", {hidden}, {})[0];
  // These ids lie outside the table: the gather would fail.
  EXPECT_THAT(longs(value_of(shape, {{ids, Tensor::from_int64s({1, 2}, std::array<int64_t, 2>{5, 5})}})), ElementsAre(1, 2, 2));
  EXPECT_THAT(message_of([&] {
                value_of(hidden, {{ids, Tensor::from_int64s({1, 2}, std::array<int64_t, 2>{0, 5})}});
              }),
              HasSubstr("gather: index 5 of 1"));
}

TEST_F(EvaluateTest, AnyValueMayBeGiven) {
  const ValueId half = network.add_cast(mask, DType::f32);
  const ValueId doubled = network.add_elementwise("add", half, half);
  EXPECT_THAT(floats(value_of(doubled, {{half, Tensor::from_floats({1, 2}, std::array{1.5f, -2.0f})}})),
              ElementsAre(3.0f, -4.0f));
}

TEST_F(EvaluateTest, WrongInputsAreNamed) {
  const ValueId sum = network.add_elementwise("add", ids, mask);
  EXPECT_THAT(message_of([&] { value_of(sum, {{mask, given}}); }), HasSubstr("needs input 'input_ids'"));
  const Tensor shorter = Tensor::from_int64s({2, 2}, std::array<int64_t, 4>{});
  EXPECT_THAT(message_of([&] {
                value_of(sum, {{ids, shorter}, {mask, given}});
              }),
              testing::AllOf(HasSubstr("input 'attention_mask'"), HasSubstr("[2, 3]"), HasSubstr("sequence is 2 elsewhere")));
  EXPECT_THAT(message_of([&] {
                value_of(sum, {{ids, Tensor::from_floats({2, 3}, std::array<float, 6>{})}, {mask, given}});
              }),
              HasSubstr("input 'input_ids': f32"));
  EXPECT_THAT(message_of([&] {
                value_of(sum, {{ids, Tensor::from_int64s({6}, std::array<int64_t, 6>{})}, {mask, given}});
              }),
              HasSubstr("input 'input_ids'"));
}

TEST_F(EvaluateTest, ShapesThatOnlyTheRunContradicts) {
  const ValueId other = network.add_input("other", DType::i64, {"batch", "columns"});
  const ValueId sum = network.add_elementwise("add", mask, other, "sum");
  const Tensor two = Tensor::from_int64s({2, 2}, std::array<int64_t, 4>{});
  EXPECT_THAT(message_of([&] {
                value_of(sum, {{mask, given}, {other, two}});
              }),
              testing::AllOf(HasSubstr("elementwise 'sum'"), HasSubstr("'attention_mask' i64 [2, 3]")));
}

TEST_F(EvaluateTest, ViewsShareTheirBytes) {
  const ValueId weight = network.add_constant("weight", Tensor::from_floats({2, 3}, std::array<float, 6>{1, 2, 3, 4, 5, 6}));
  const std::array<int64_t, 2> shape = {3, 2};
  const ValueId reshaped = network.add_reshape(weight, shape);
  const Tensor result = value_of(reshaped, {});
  EXPECT_EQ(result.shape, Shape({3, 2}));
  EXPECT_EQ(result.data.get(), network.value(weight).constant->data.get());
}

TEST_F(EvaluateTest, EmptyTensors) {
  const ValueId flat = network.add_reshape(mask, std::array<int64_t, 1>{-1});
  const ValueId sum = network.add_reduce("sum", flat, {}, false);
  const auto results = evaluate(network, std::array{flat, sum}, {{mask, Tensor::from_int64s({0, 3}, {})}});
  EXPECT_EQ(results[0].shape, Shape({0}));
  EXPECT_THAT(longs(results[1]), ElementsAre(0));
  // A scalar is what a shape of no extents gives.
  const ValueId lone = network.add_reshape(number(4), {});
  EXPECT_EQ(value_of(lone, {}).shape.rank(), 0);
}

TEST_F(EvaluateTest, PackedNodesAreRefused) {
  const ValueId x = network.add_input("x", DType::f32, {"tokens", 4});
  const ValueId pooled = network.add_pool(x, kNone, "mean", "pooled");
  EXPECT_THAT(message_of([&] {
                value_of(pooled, {{x, Tensor::from_floats({1, 4}, std::array<float, 4>{})}});
              }),
              HasSubstr("pool 'pooled' needs a packed batch"));
  const ValueId padded = network.add_input("padded", DType::f32, {"batch", "sequence", 4});
  const ValueId packed = network.add_node("pack_rows", {padded}, {}, "packed")[0];
  EXPECT_THAT(message_of([&] {
                value_of(packed, {{padded, Tensor::from_floats({1, 1, 4}, std::array<float, 4>{})}});
              }),
              HasSubstr("pack_rows 'packed' needs a packed batch"));
}

TEST(ConcreteRule, RemembersUntilAnInputChanges) {
  Network network;
  const ValueId x = network.add_input("x", DType::f32, {"n"});
  const ValueId shape = network.add_input("shape", DType::i64, {2});
  const ValueId out = network.add_node("reshape", {x, shape}, {})[0];
  ConcreteRule rule(network, network.node(network.value(out).producer));
  const std::array<int64_t, 2> first = {2, 3}, second = {-1, 2};
  const auto infer = [&](int64_t n, const std::array<int64_t, 2>& to) {
    const std::array inputs = {TensorView{nullptr, DType::f32, {n}}, TensorView{to.data(), DType::i64, {2}}};
    return rule.infer(inputs)[0].shape;
  };
  EXPECT_EQ(infer(6, first), Shape({2, 3}));
  EXPECT_EQ(infer(6, first), Shape({2, 3}));
  EXPECT_EQ(infer(6, second), Shape({3, 2}));
  EXPECT_EQ(infer(8, second), Shape({4, 2}));
  EXPECT_THROW(infer(8, first), Error);
  EXPECT_EQ(infer(6, first), Shape({2, 3}));
}

}  // namespace
}  // namespace bertie
