#include "network/network_json.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "base/message_of_test.h"

namespace bertie {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

// Of every kind of thing a network has: shared constants, an input that nothing reads, a left-out operand, several outputs of a node,
// every type of attribute.
struct Sample {
  Network network;
  std::vector<Tensor> tensors;
  std::vector<ValueId> constants;

  Sample() {
    tensors = {Tensor::from_floats({4, 8}, std::vector<float>(32, 0.5f)), Tensor::from_floats({4}, std::vector<float>(4, 1.0f)),
               Tensor::from_int64s({2}, std::vector<int64_t>{4, 4})};
    const ValueId x = network.add_input("x", DType::f32, {"batch", "sequence", 8});
    network.add_input("attention_mask", DType::i64, {"batch", "sequence"});
    const ValueId ids = network.add_input("ids", DType::i64, {"batch", "sequence"});
    network.set_role(ids, InputRole::token_ids);
    network.set_position_rule({.first = 2, .padding_id = 1});
    const ValueId w = network.add_constant("w", tensors[0]), b = network.add_constant("b", tensors[1]);
    const ValueId sizes = network.add_constant("sizes", tensors[2]);
    constants = {w, b, sizes};
    const ValueId first = network.add_linear(x, w, b, "first"), second = network.add_linear(x, w, kNone, "second");
    const ValueId sum = network.add_elementwise("add", first, second);
    const ValueId norm = network.add_layer_norm(sum, b, b, 0x1.fffp-40, "norm");
    const std::vector<ValueId> halves =
        network.add_node("split", {network.add_concat({norm, norm}, 2), sizes}, {{"axis", int64_t{2}}}, "halves");
    network.add_output("norm", norm);
    network.add_output("half", halves.at(1));
    network.add_output("sizes", sizes);
  }

  Json json() const {
    return network_to_json(network, [&](ValueId id) {
      return static_cast<size_t>(std::find(constants.begin(), constants.end(), id) - constants.begin());
    });
  }
};

std::string refusal(const Json& json, std::span<const Tensor> tensors) {
  return message_of([&] { network_from_json(json, "f: section network", tensors); });
}

TEST(NetworkJson, ComesBackTheSame) {
  const Sample sample;
  const Network again = network_from_json(sample.json(), "f", sample.tensors);
  EXPECT_EQ(again.to_string(), sample.network.to_string());
  EXPECT_EQ(again.position_rule(), sample.network.position_rule());
  ASSERT_EQ(again.inputs().size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const Value &a = again.value(again.inputs()[i]), &b = sample.network.value(sample.network.inputs()[i]);
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.role, b.role);
  }
  const Node& norm = again.node(again.value(again.outputs()[0].value).producer);
  EXPECT_EQ(norm.real("epsilon"), 0x1.fffp-40);
  EXPECT_EQ(norm.input(1), norm.input(2));
  const Node& first = again.node(again.order()[0]);
  EXPECT_EQ(again.value(first.input(1)).constant->data.get(), sample.tensors[0].data.get());
  // And through text.
  const Network read = network_from_json(Json::parse(sample.json().dump()), "f", sample.tensors);
  EXPECT_EQ(read.to_string(), sample.network.to_string());
  const auto number = [](ValueId) { return size_t{0}; };
  EXPECT_EQ(network_to_json(read, number), network_to_json(sample.network, number));
}

// Names and attributes that a builder would not choose; the op's rule does not look at their values.
TEST(NetworkJson, NumbersAndBytesSurvive) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {0.1, -0.0, 1.0, 5e-324, 1.7976931348623157e308, infinity, -infinity}) {
    Network network;
    const ValueId x = network.add_input("x", DType::f32, {"n"});
    network.add_output("y", network.add_node("normalize", {x}, {{"epsilon", value}}, "\"n\"\n")[0]);
    const Json json = Json::parse(network_to_json(network, {}).dump());
    const Network again = network_from_json(json, "f", {});
    const Node& node = again.node(again.order()[0]);
    EXPECT_EQ(std::signbit(node.real("epsilon")), std::signbit(value));
    EXPECT_EQ(node.real("epsilon"), value);
    EXPECT_EQ(node.name, "\"n\"\n");
  }
}

TEST(NetworkJson, WhatDoesNotHoldTogetherIsRefused) {
  const Sample sample;
  const Json good = sample.json();
  EXPECT_EQ(refusal(good, sample.tensors), "");
  const auto changed = [&](const char* pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return refusal(json, sample.tensors);
  };
  const auto says = [](const char* what) { return AllOf(HasSubstr("f: section network"), HasSubstr(what)); };
  EXPECT_THAT(changed("/nodes/0/op", "warp"), says("warp"));
  EXPECT_THAT(changed("/nodes/0/inputs/1", 99), says("there is no value 99"));
  EXPECT_THAT(changed("/nodes/0/inputs/1", -2), says("there is no value -2"));
  EXPECT_THAT(changed("/nodes/1/inputs/0", 8), says("no value 8"));  // its own output: a cycle cannot be written down
  EXPECT_THAT(changed("/nodes/0/inputs/1", "w"), says("inputs"));
  EXPECT_THAT(changed("/nodes/0/outputs/0/shape", Json::array({"batch", 7})), says("was written"));
  EXPECT_THAT(changed("/nodes/0/outputs/0/shape/0", -3), says("shape"));
  EXPECT_THAT(changed("/nodes/0/outputs/0/dtype", "f33"), says("dtype"));
  EXPECT_THAT(changed("/nodes/0/outputs", Json::array()), says("has 0 outputs"));
  EXPECT_THAT(changed("/nodes/0/attributes/color", {{"integer", 3}}), says("unknown attribute 'color'"));
  EXPECT_THAT(changed("/nodes/2/attributes/function", {{"text", 3}}), says("attributes.function"));
  EXPECT_THAT(changed("/nodes/2/attributes/function", "add"), says("attributes.function"));
  EXPECT_THAT(changed("/constants/0/tensor", 3), says("tensor"));
  EXPECT_THAT(changed("/inputs/2/role", "king"), says("role"));
  EXPECT_THAT(changed("/inputs/1/name", "x"), says("two inputs are called 'x'"));
  EXPECT_THAT(changed("/inputs/0/shape", 5), says("shape"));
  EXPECT_THAT(changed("/outputs/0/value", 1000), says("there is no value 1000"));
  EXPECT_THAT(changed("/outputs/1/name", "norm"), says("named twice"));
  EXPECT_THAT(changed("/outputs", Json::array()), says("no outputs"));
  EXPECT_THAT(changed("/nodes/1/name", "first"), says("taken twice"));
  EXPECT_THAT(changed("/position_rule/first", -1), says("position_rule.first"));
  EXPECT_THAT(changed("/nodes", 3), says("nodes"));
  EXPECT_THAT(refusal(Json::array(), {}), says("object"));
}

}  // namespace
}  // namespace bertie
