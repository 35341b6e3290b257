#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/message_of_test.h"
#include "passes/pass.h"

namespace bertie {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

struct FoldConstantsTest : testing::Test {
  Network network;
  ValueId x = network.add_input("x", DType::f32, {"batch", "sequence", 4});
  PassReport report;

  Tensor numbers(const Shape& shape) {
    std::vector<float> values(static_cast<size_t>(shape.elements()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
    return Tensor::from_floats(shape, values);
  }
  Tensor bytes(const Shape& shape, DType dtype, const std::vector<uint8_t>& values) {
    std::shared_ptr<uint8_t[]> storage(new uint8_t[values.size()]);
    std::copy(values.begin(), values.end(), storage.get());
    return {dtype, shape, std::shared_ptr<const void>(storage, storage.get())};
  }
  void fold() {
    PassLog log(report);
    fold_constants(network, {}, log);
    network.verify();
  }
  std::vector<std::string> ops() const {
    std::vector<std::string> names;
    for (NodeId id : network.order()) names.push_back(network.node(id).op);
    return names;
  }
  const Tensor& constant_input(size_t node, size_t input) {
    return *network.value(network.node(network.order().at(node)).inputs.at(input)).constant;
  }
};

TEST_F(FoldConstantsTest, AChainOfConstantsBecomesOne) {
  const ValueId weight = network.add_constant("weight", numbers({2, 4}));
  const ValueId doubled = network.add_elementwise("add", weight, weight);
  network.add_output("y", network.add_matmul(x, network.add_transpose(doubled, {1, 0})));
  fold();
  EXPECT_THAT(ops(), ElementsAre("matmul"));
  const Tensor& folded = constant_input(0, 1);
  EXPECT_EQ(folded.shape, Shape({4, 2}));
  const std::vector<float> values(folded.view().as<float>(), folded.view().as<float>() + 8);
  EXPECT_THAT(values, ElementsAre(0, 8, 2, 10, 4, 12, 6, 14));
  EXPECT_EQ(report.matches, 2);
}

TEST_F(FoldConstantsTest, FixedExtentsAreKnownThoughTheTensorIsNot) {
  const ValueId shape = network.add_node("shape", {x}, {})[0];
  const ValueId width =
      network.add_gather(shape, network.add_constant("two", Tensor::from_int64s({}, std::array<int64_t, 1>{2})), 0);
  const ValueId wide = network.add_elementwise("div", x, network.add_unary("sqrt", network.add_cast(width, DType::f32)));
  network.add_output("y", wide);
  fold();
  EXPECT_THAT(ops(), ElementsAre("elementwise"));
  EXPECT_EQ(constant_input(0, 1).view().as<float>()[0], 2);
  EXPECT_THAT(report.lines, Contains(HasSubstr("elements known from the shapes: gather")));
}

TEST_F(FoldConstantsTest, SymbolsStay) {
  const ValueId shape = network.add_node("shape", {x}, {{"end", int64_t{1}}})[0];
  network.add_output("batch", shape);
  fold();
  EXPECT_THAT(ops(), ElementsAre("shape"));
  EXPECT_EQ(report.matches, 0);
}

TEST_F(FoldConstantsTest, ASharedWeightIsReworkedOnce) {
  const ValueId weight = network.add_constant("weight", numbers({4, 4}));
  ValueId y = x;
  for (int layer = 0; layer < 3; ++layer) y = network.add_matmul(y, network.add_transpose(weight, {1, 0}));
  network.add_output("y", y);
  fold();
  EXPECT_THAT(ops(), ElementsAre("matmul", "matmul", "matmul"));
  EXPECT_EQ(constant_input(0, 1).data, constant_input(2, 1).data);
}

TEST_F(FoldConstantsTest, AnExpansionIsNotStored) {
  const std::array<int64_t, 2> shape = {1024, 1024};
  const ValueId grown =
      network.add_node("expand", {network.add_constant("one", numbers({1, 1})), network.add_integers(shape)}, {}, "grown")[0];
  network.add_output("y", grown);
  fold();
  EXPECT_THAT(ops(), ElementsAre("expand"));
  EXPECT_THAT(report.lines, Contains(HasSubstr("refused: grown: a result of 4.2 MB from less")));
}

TEST_F(FoldConstantsTest, ALargeWeightForProductsStaysAsItLies) {
  const ValueId weight = network.add_constant("weight", numbers({70000, 4}));
  const ValueId turned = network.add_transpose(weight, {1, 0}, "turned");
  network.add_output("y", network.add_matmul(x, turned));
  fold();
  EXPECT_THAT(ops(), ElementsAre("transpose", "matmul"));
  EXPECT_THAT(report.lines, Contains(HasSubstr("refused: turned")));
  network.add_output("turned", turned);  // read otherwise too
  fold();
  EXPECT_THAT(ops(), ElementsAre("matmul"));
}

TEST_F(FoldConstantsTest, Int8WeightsBecomeFloats) {
  const ValueId weight = network.add_constant("weight", bytes({2, 2}, DType::i8, {1, 255, 128, 127}));
  const ValueId scale = network.add_constant("scale", Tensor::from_floats({2}, std::array{0.5f, 2.0f}));
  const ValueId floats = network.add_node("dequantize_linear", {weight, scale}, {{"axis", int64_t{0}}})[0];
  network.add_output("y", network.add_elementwise("mul", network.add_reshape(x, std::array<int64_t, 2>{-1, 2}),
                                                  network.add_reduce("sum", floats, std::array<int64_t, 1>{0}, false)));
  fold();
  const Tensor& folded = constant_input(1, 1);
  EXPECT_EQ(folded.view().as<float>()[0], 0.5f - 256);
  EXPECT_EQ(folded.view().as<float>()[1], -0.5f + 254);
}

TEST_F(FoldConstantsTest, HalfWeightsAreReadAsTheyAre) {
  const ValueId weight = network.add_constant("weight", bytes({4}, DType::f16, {0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44}));
  const ValueId wide = network.add_cast(weight, DType::f32);
  network.add_output("y", network.add_elementwise("mul", x, wide));
  fold();
  EXPECT_THAT(ops(), ElementsAre("elementwise"));
  EXPECT_EQ(constant_input(0, 1).dtype, DType::f16);
  // An output is f32 all the same.
  network.add_output("wide", network.add_cast(weight, DType::f32));
  fold();
  const Value& output = network.value(network.outputs()[1].value);
  ASSERT_TRUE(output.constant);
  EXPECT_EQ(output.dtype, DType::f32);
  EXPECT_EQ(output.constant->view().as<float>()[3], 4);
}

TEST_F(FoldConstantsTest, AnIndexOutsideItsTableIsAnErrorThatNamesTheNode) {
  const ValueId table = network.add_constant("table", numbers({2, 2}));
  const ValueId index = network.add_constant("index", Tensor::from_int64s({}, std::array<int64_t, 1>{2}));
  network.add_output("y", network.add_gather(table, index, 0, "pick"));
  EXPECT_THAT(message_of([&] { fold(); }), HasSubstr("gather 'pick': gather: index 2 of 2"));
}

}  // namespace
}  // namespace bertie
