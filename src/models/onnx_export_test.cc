// What the exporter lays down; what other runtimes compute from it is tests/parity/export_parity.py's.
#include "models/onnx_export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/message_of_test.h"

namespace bertie::models {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> ops_of(const onnx::Model& model) {
  std::vector<std::string> ops;
  for (const onnx::Node& node : model.graph.nodes) ops.push_back(node.op);
  return ops;
}

std::vector<std::string> names(const std::vector<onnx::ValueInfo>& values) {
  std::vector<std::string> names;
  for (const onnx::ValueInfo& value : values) names.push_back(value.name);
  return names;
}

TEST(OnnxExport, AFolderKeepsItsNames) {
  const Model model = Model::load("tests/data/families/bert_answer");
  const onnx::Model exported = to_onnx(model.network(), {}, model.info().squeezed_outputs);
  EXPECT_EQ(exported.opsets.at(""), 17);
  EXPECT_THAT(names(exported.graph.inputs), ElementsAre("input_ids", "attention_mask", "token_type_ids"));
  EXPECT_THAT(names(exported.graph.outputs), ElementsAre("last_hidden_state", "start_logits", "end_logits"));
  EXPECT_EQ(exported.graph.outputs[1].shape->size(), 2u);
  const auto& weight = exported.graph.initializers.at("bert.encoder.layer.0.attention.self.query.weight");
  EXPECT_EQ(weight.dtype, DType::f32);
  EXPECT_THAT(ops_of(exported), Contains("LayerNormalization"));
  EXPECT_THAT(ops_of(exported), Not(Contains("Gelu")));
  EXPECT_THAT(ops_of(to_onnx(model.network(), {.opset = 20}, {})), Contains("Gelu"));
  EXPECT_THAT(ops_of(to_onnx(model.network(), {.opset = 16}, {})), Not(Contains("LayerNormalization")));
}

TEST(OnnxExport, PositionsAreAnInputWhereAsked) {
  const Model model = Model::load("tests/data/families/roberta_model");
  const onnx::Model computed = to_onnx(model.network(), {}, {});
  EXPECT_THAT(names(computed.graph.inputs), Not(Contains("position_ids")));
  EXPECT_THAT(ops_of(computed), Contains("CumSum"));
  const onnx::Model given = to_onnx(model.network(), {.position_ids = true}, {});
  EXPECT_THAT(names(given.graph.inputs), Contains("position_ids"));
  EXPECT_THAT(ops_of(given), Not(Contains("CumSum")));
}

TEST(OnnxExport, MasksAndDistancesAreComputedOnce) {
  const Model model = Model::load("tests/data/families/mpnet_model");  // three layers
  const auto ops = ops_of(to_onnx(model.network(), {}, {}));
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "Where"), 1);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "Range"), 1);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "Softmax"), 3);
}

TEST(OnnxExport, Refusals) {
  Network network;
  const ValueId x = network.add_input("x", DType::f32, {"tokens", 6});
  network.add_output("y", network.add_node("attention", {x, x, x}, {{"heads", int64_t{2}}}, "packed")[0]);
  EXPECT_THAT(message_of([&] { to_onnx(network, {}, {}); }), HasSubstr("attention 'packed': cannot be exported: packed rows"));
  EXPECT_THAT(message_of([&] { to_onnx(network, {.opset = 10}, {}); }), HasSubstr("opset 10: 11 to 23"));
  EXPECT_THAT(message_of([&] { to_onnx(network, {.opset = 24}, {}); }), HasSubstr("opset 24: 11 to 23"));
  Network rows;
  const ValueId z = rows.add_input("z", DType::f32, {"batch", 4});
  rows.add_output("q", rows.add_node("dynamic_quantize_linear", {z}, {{"per_row", int64_t{1}}}, "by_row")[0]);
  EXPECT_THAT(message_of([&] { to_onnx(rows, {}, {}); }),
              HasSubstr("dynamic_quantize_linear 'by_row': cannot be exported: ONNX takes one"));
  Network same;
  const ValueId a = same.add_input("a", DType::f32, {3});
  same.add_output("a", same.add_unary("relu", a));
  EXPECT_THAT(message_of([&] { to_onnx(same, {}, {}); }), HasSubstr("output 'a': ONNX allows no input and output of one name"));
}

}  // namespace
}  // namespace bertie::models
