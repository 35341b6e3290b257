#include "bertie/network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "base/message_of_test.h"
#include "network/op.h"

namespace bertie {
namespace {

using testing::HasSubstr;

Tensor zeros(const Shape& shape) { return Tensor::from_floats(shape, std::vector<float>(static_cast<size_t>(shape.elements()))); }

struct NetworkTest : testing::Test {
  Network network;
  ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  ValueId table = network.add_constant("table", zeros({10, 6}));
  ValueId x = network.add_embedding(table, ids, "words");
};

TEST_F(NetworkTest, ShapesFollowTheOps) {
  EXPECT_EQ(to_string(network.value(x).shape), "[batch, sequence, 6]");
  const ValueId weight = network.add_constant("weight", zeros({4, 6}));
  const ValueId y = network.add_linear(x, weight, kNone, "dense");
  EXPECT_EQ(to_string(network.value(y).shape), "[batch, sequence, 4]");
  const ValueId pooled = network.add_pool(y, kNone, "mean");
  EXPECT_EQ(to_string(network.value(pooled).shape), "[batch, 4]");
}

TEST_F(NetworkTest, WrongShapesFailAtTheCallNamingEverything) {
  const ValueId weight = network.add_constant("weight", zeros({4, 5}));
  const std::string message = message_of([&] { network.add_linear(x, weight, kNone, "dense"); });
  EXPECT_THAT(message, HasSubstr("linear 'dense'"));
  EXPECT_THAT(message, HasSubstr("one K"));
  EXPECT_THAT(message, HasSubstr("'weight' f32 [4, 5]"));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  // The failed node is not left behind.
  EXPECT_EQ(network.order().size(), 1u);
}

TEST_F(NetworkTest, EveryOpRejectsWhatItCannotTake) {
  const ValueId gamma = network.add_constant("gamma", zeros({6}));
  const ValueId wrong = network.add_constant("wrong", zeros({5}));
  const ValueId mask = network.add_input("attention_mask", DType::i64, {"batch", "sequence"});
  EXPECT_THROW(network.add_embedding(table, gamma), Error);
  EXPECT_THROW(network.add_embedding(gamma, ids), Error);
  EXPECT_THROW(network.add_layer_norm(x, gamma, wrong, 1e-12), Error);
  EXPECT_THROW(network.add_elementwise("add", x, wrong), Error);
  EXPECT_THROW(network.add_elementwise("modulo", x, x), Error);
  EXPECT_THROW(network.add_unary("sine", x), Error);
  EXPECT_THROW(network.add_gelu(x, "quick"), Error);
  EXPECT_THROW(network.add_attention(x, x, x, mask, kNone, 4, 1.0), Error);  // 6 is not 4 heads
  EXPECT_THROW(network.add_attention(x, x, kNone, mask, kNone, 2, 1.0), Error);
  EXPECT_THROW(network.add_attention(x, x, x, mask, gamma, 2, 1.0), Error);
  EXPECT_THROW(network.add_pool(x, mask, "median"), Error);
  EXPECT_THROW(network.add_node("gather_rows", {x, ids}, {}), Error);
  EXPECT_THROW(network.add_node("conv", {x}, {}), Error);
  EXPECT_THROW(network.add_node("gelu", {x}, {{"alpha", 1.0}}), Error);
  EXPECT_THROW(network.add_node("gelu", {}, {}), Error);
  EXPECT_THROW(network.add_node("gelu", {ValueId{99}}, {}), Error);
  EXPECT_THROW(network.add_node("gelu", {x, x}, {}), Error);
  EXPECT_EQ(to_string(network.value(network.add_attention(x, x, x, mask, kNone, 3, 1.0)).shape), "[batch, sequence, 6]");
}

TEST_F(NetworkTest, NamesAreMadeUnique) {
  const ValueId a = network.add_gelu(x, "none", "act");
  const ValueId b = network.add_gelu(a, "none", "act");
  EXPECT_NE(network.node(network.value(a).producer).name, network.node(network.value(b).producer).name);
  network.add_output("y", b);
  EXPECT_NO_THROW(network.verify());
  EXPECT_THROW(network.add_output("y", a), Error);
}

TEST_F(NetworkTest, OrderPutsProducersFirstAndFindsCycles) {
  const ValueId a = network.add_gelu(x);
  const ValueId b = network.add_gelu(a);
  EXPECT_EQ(network.order(), (std::vector<NodeId>{0, 1, 2}));
  network.mutable_node(network.value(a).producer).inputs[0] = b;
  EXPECT_THAT(message_of([&] { network.order(); }), HasSubstr("cycle"));
}

TEST_F(NetworkTest, VerifyFindsAStaleShape) {
  const ValueId a = network.add_gelu(x);
  network.add_output("y", a);
  network.mutable_value(a).shape.back() = Dim(7);
  EXPECT_THAT(message_of([&] { network.verify(); }), HasSubstr("its rule"));
  network.infer_shapes();
  EXPECT_NO_THROW(network.verify());
}

TEST_F(NetworkTest, DeadNodesGoAndLiveOnesStay) {
  const ValueId a = network.add_gelu(x);
  network.add_gelu(a);
  network.add_output("y", a);
  EXPECT_EQ(network.remove_dead_nodes(), 1u);
  EXPECT_EQ(network.order().size(), 2u);
  const std::array<std::string, 1> unknown = {"z"};
  EXPECT_THAT(message_of([&] { network.keep_outputs(unknown); }), HasSubstr("the network has y"));
}

TEST_F(NetworkTest, PrintsOneLineANode) {
  network.add_output("y", network.add_gelu(x, "tanh", "act"));
  const std::string text = network.to_string();
  EXPECT_THAT(text, HasSubstr("act(words:out) approximate=tanh -> f32 [batch, sequence, 6]"));
  EXPECT_THAT(text, HasSubstr("output y = act:out"));
}

TEST(OpsTest, DescriptorsAreComplete) {
  for (std::string_view name : op_names()) {
    const OpDescriptor& op = find_op(name);
    EXPECT_EQ(op.name, name);
    EXPECT_LE(op.required_inputs, op.inputs.size()) << name;
    EXPECT_NE(op.infer, nullptr) << name;
  }
}

}  // namespace
}  // namespace bertie
