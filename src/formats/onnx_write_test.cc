#include "formats/onnx_write.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/message_of_test.h"

namespace bertie::onnx {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Tensor floats(const Shape& shape, float first) {
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = first + static_cast<float>(i);
  return Tensor::from_floats(shape, values);
}

// Every kind of attribute, tensors of extent 0 and of rank 0, one of a few pages.
Model sample() {
  Model model;
  model.file = "sample";
  model.ir_version = 8;
  model.producer = "bertie";
  model.opsets[""] = 17;
  model.opsets["com.example"] = 2;
  model.metadata["key"] = "value";
  Graph& graph = model.graph;
  graph.name = "g";
  graph.inputs.push_back({"x", DType::f32, "FLOAT", std::vector<Extent>{{std::nullopt, "batch"}, {3, ""}, {std::nullopt, ""}}});
  graph.outputs.push_back({"y", DType::i64, "INT64", std::vector<Extent>{}});
  graph.initializers["large"] = floats({40, 100}, 1);
  graph.initializers["larger"] = floats({3, 1000}, 7);
  graph.initializers["scalar"] = floats({}, 5);
  graph.initializers["empty"] = floats({2, 0}, 0);
  Node node{"n", "Op", "com.example", "", {"x", "", "large"}, {"y", "z"}, {}};
  node.attributes = {{"i", "", int64_t{-3}, "INT"},
                     {"f", "", 0.5, "FLOAT"},
                     {"s", "", std::string("text"), "STRING"},
                     {"is", "", std::vector<int64_t>{1, -2}, "INTS"},
                     {"fs", "", std::vector<double>{1.5, 2}, "FLOATS"},
                     {"ss", "", std::vector<std::string>{"a", ""}, "STRINGS"},
                     {"t", "", Tensor::from_int64s({2}, std::vector<int64_t>{8, 9}), "TENSOR"}};
  graph.nodes.push_back(std::move(node));
  return model;
}

void expect_same(const Model& model, const Model& expected) {
  EXPECT_EQ(model.ir_version, expected.ir_version);
  EXPECT_EQ(model.opsets, expected.opsets);
  EXPECT_EQ(model.metadata, expected.metadata);
  ASSERT_EQ(model.graph.nodes.size(), 1u);
  const Node& node = model.graph.nodes[0];
  EXPECT_EQ(node.domain, "com.example");
  EXPECT_THAT(node.inputs, ElementsAre("x", "", "large"));
  EXPECT_THAT(node.outputs, ElementsAre("y", "z"));
  ASSERT_EQ(node.attributes.size(), 7u);
  for (size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(node.attributes[i].value.index(), expected.graph.nodes[0].attributes[i].value.index());
    EXPECT_EQ(node.attributes[i].kind, expected.graph.nodes[0].attributes[i].kind);
  }
  EXPECT_EQ(std::get<int64_t>(node.attributes[0].value), -3);
  EXPECT_EQ(std::get<double>(node.attributes[1].value), 0.5);
  EXPECT_EQ(std::get<std::string>(node.attributes[2].value), "text");
  EXPECT_THAT(std::get<std::vector<int64_t>>(node.attributes[3].value), ElementsAre(1, -2));
  EXPECT_THAT(std::get<std::vector<std::string>>(node.attributes[5].value), ElementsAre("a", ""));
  EXPECT_EQ(std::get<Tensor>(node.attributes[6].value).view().as<int64_t>()[1], 9);
  ASSERT_EQ(model.graph.initializers.size(), expected.graph.initializers.size());
  for (const auto& [name, tensor] : expected.graph.initializers) {
    const Tensor& read = model.graph.initializers.at(name);
    EXPECT_EQ(read.shape, tensor.shape) << name;
    EXPECT_EQ(read.bytes() ? std::memcmp(read.data.get(), tensor.data.get(), tensor.bytes()) : 0, 0) << name;
  }
  const auto& shape = *model.graph.inputs.at(0).shape;
  EXPECT_EQ(shape.at(0).symbol, "batch");
  EXPECT_EQ(shape.at(1).size, 3);
  EXPECT_EQ(shape.at(2).size, std::nullopt);
  EXPECT_EQ(model.graph.outputs.at(0).dtype, DType::i64);
  EXPECT_TRUE(model.graph.outputs.at(0).shape->empty());
}

struct OnnxWrite : testing::Test {
  std::filesystem::path folder = std::filesystem::temp_directory_path() / "bertie_onnx_write_test";
  std::string path = (folder / "model.onnx").string();
  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
};

TEST_F(OnnxWrite, ComesBackAsItWas) {
  const std::string bytes = format_onnx(sample());
  EXPECT_EQ(bytes, format_onnx(sample()));
  expect_same(parse_onnx(std::as_bytes(std::span(bytes)), "bytes", std::nullopt), sample());
  write_onnx(sample(), path, 1 << 20);
  EXPECT_EQ(std::filesystem::file_size(path), bytes.size());
  EXPECT_FALSE(std::filesystem::exists(path + ".data"));
  expect_same(read_onnx(path), sample());
}

TEST_F(OnnxWrite, LargeWeightsLieBeside) {
  write_onnx(sample(), path, 1000);
  EXPECT_LT(std::filesystem::file_size(path), 2000u);
  // 16000 bytes on four pages, then 12000.
  EXPECT_EQ(std::filesystem::file_size(path + ".data"), 4u * 4096 + 12000);
  expect_same(read_onnx(path), sample());
}

TEST_F(OnnxWrite, Refusals) {
  EXPECT_THAT(message_of([&] { write_onnx(sample(), (folder / "absent" / "x.onnx").string(), 1 << 20); }), HasSubstr("absent"));
  Model model = sample();
  model.graph.nodes[0].attributes = {{"body", "", std::shared_ptr<const Graph>(), "GRAPH"}};
  EXPECT_THAT(message_of([&] { format_onnx(model); }), HasSubstr("attribute 'body': its kind GRAPH"));
}

}  // namespace
}  // namespace bertie::onnx
