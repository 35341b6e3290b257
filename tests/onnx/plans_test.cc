// What real exporters write of a checkpoint (tests/data/onnx) ends in the same fused plan as the checkpoint's own folder: the same ops
// with the same attributes on the same extents, in the same order.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "bertie/model.h"
#include "formats/safetensors.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "reference/evaluate.h"

namespace bertie {
namespace {

constexpr const char* kFolder = "tests/data/onnx";

std::vector<std::string> variants() {
  std::vector<std::string> files;
  for (const auto& folder : std::filesystem::directory_iterator(kFolder)) {
    const std::string name = folder.path().filename().string();
    // What is quantised has a plan of its own, and so has a mask that is a count.
    if (!folder.is_directory() || name == "checkpoints" || name.starts_with("quantized") || name.ends_with("mask_index"))
      continue;
    for (const auto& file : std::filesystem::directory_iterator(folder.path())) {
      if (file.path().extension() == ".onnx") files.push_back(name + "/" + file.path().stem().string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> plan(const Network& network) {
  std::vector<std::string> steps;
  std::vector<NodeId> order = network.order();
  // Squeezes of outputs last, whenever they were written.
  std::stable_partition(order.begin(), order.end(), [&](NodeId id) { return network.node(id).op != "squeeze"; });
  for (NodeId id : order) {
    const Node& node = network.node(id);
    std::string step = node.op;
    for (const auto& [name, attribute] : node.attributes) step += fmt::format(" {}={}", name, to_string(attribute));
    steps.push_back(step + " " + to_string(network.value(node.outputs[0]).shape));
  }
  return steps;
}

std::string lines(const std::vector<std::string>& steps) { return fmt::format("{}\n", fmt::join(steps, "\n")); }

// The checkpoint's own network; for a file that pools, with the pooling that sentence-transformers has for it.
Network family_network(const std::string& name) {
  constexpr std::string_view kPooled = "_embedding";
  const bool pooled = name.ends_with(kPooled);
  const Model model =
      Model::load(std::string(kFolder) + "/checkpoints/" + (pooled ? name.substr(0, name.size() - kPooled.size()) : name));
  Network network = model.network();
  if (pooled) {
    const ValueId mask = network.input_of(InputRole::attention_mask);
    network.add_output("sentence_embedding",
                       network.add_normalize(network.add_pool(network.outputs()[0].value, mask, "mean"), 1e-12));
  }
  // Hugging Face's shape, which the files have.
  for (const std::string& squeezed : model.info().squeezed_outputs) {
    for (const Network::Output& output : network.outputs()) {
      if (output.name != squeezed) continue;
      const ValueId axes = network.add_integers(std::vector<int64_t>{-1});
      network.replace_output(output.value, network.add_node("squeeze", {output.value, axes}, {})[0]);
      break;
    }
  }
  return network;
}

// Of the outputs that both have, those that a head makes, or all: exporters leave out what a head does not need.
std::vector<std::string> common_outputs(const Network& a, const Network& b) {
  std::vector<std::string> names;
  for (const Network::Output& output : a.outputs()) {
    const auto others = b.outputs();
    if (std::any_of(others.begin(), others.end(), [&](const Network::Output& other) { return other.name == output.name; }))
      names.push_back(output.name);
  }
  return names;
}

// Largest difference of an output from what ONNX Runtime made of the unfused file, at attended rows; the golden file holds the inputs.
double difference(const Network& fused, const TensorMap& golden) {
  std::map<ValueId, Tensor> inputs;
  const Tensor& tokens = *golden.at("input.input_ids").tensor;
  const Tensor& mask = *golden.at("input.attention_mask").tensor;
  const PositionRule rule = fused.position_rule().value_or(PositionRule{});
  for (ValueId id : fused.inputs()) {
    const Value& input = fused.value(id);
    if (const auto found = golden.find("input." + input.name); found != golden.end()) {
      inputs[id] = *found->second.tensor;
    } else if (input.role == InputRole::position_ids) {
      std::vector<int64_t> positions;
      const auto token = [&](int64_t i) { return static_cast<int64_t>(element(tokens.view(), i)); };
      for (int64_t i = 0; i < tokens.shape.elements(); ++i) {
        int64_t before = 0;
        for (int64_t k = i / tokens.shape[1] * tokens.shape[1]; k < i; ++k) before += token(k) != rule.padding_id ? 1 : 0;
        positions.push_back(token(i) == rule.padding_id ? rule.padding_id : rule.first + before);
      }
      inputs[id] = Tensor::from_int64s(tokens.shape, positions);
    }
  }
  double largest = 0;
  for (const Network::Output& output : fused.outputs()) {
    const Tensor& expected = *golden.at("output." + output.name).tensor;
    const Tensor actual = evaluate(fused, std::vector{output.value}, inputs)[0];
    EXPECT_EQ(actual.shape, expected.shape) << output.name;
    if (!(actual.shape == expected.shape)) return HUGE_VAL;
    const bool by_token = expected.shape.rank() >= 2 && expected.shape[1] == tokens.shape[1];
    const int64_t width = by_token ? expected.shape.elements() / tokens.shape.elements() : 1;
    for (int64_t i = 0; i < expected.shape.elements(); ++i) {
      if (by_token && element(mask.view(), i / width) == 0) continue;
      const double error = std::fabs(static_cast<double>(actual.view().as<float>()[i]) - expected.view().as<float>()[i]);
      largest = std::isnan(error) ? HUGE_VAL : std::max(largest, error);
    }
  }
  return largest;
}

class Plans : public testing::TestWithParam<std::string> {};

TEST_P(Plans, AreTheFamilys) {
  const std::string file = std::string(kFolder) + "/" + GetParam();
  Network imported = Model::load(file + ".onnx").network();
  Network own = family_network(GetParam().substr(GetParam().find('/') + 1));
  const auto wanted = common_outputs(own, imported);
  ASSERT_FALSE(wanted.empty());
  imported.keep_outputs(wanted);
  own.keep_outputs(wanted);
  // Packing is another matter: here the padded plans are compared.
  const PassOptions padded{.select_rows = {}, .disabled = {"remove_padding", "select_rows"}};
  std::string log;
  for (const PassReport& report : run_passes(imported, padded)) {
    for (const std::string& line : report.lines) log += report.name + ": " + line + "\n";
  }
  run_passes(own, padded);
  std::string expected = lines(plan(own));
  if (GetParam().find("fast_gelu") != std::string::npos) {  // the tanh form, by that tool's choice
    for (size_t at = 0; (at = expected.find("activation=gelu ", at)) != std::string::npos;)
      expected.replace(at, 16, "activation=gelu_tanh ");
  }
  EXPECT_EQ(lines(plan(imported)), expected) << log << imported.to_string();
  EXPECT_LT(difference(imported, read_safetensors(file + ".golden.safetensors")), 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Files, Plans, testing::ValuesIn(variants()), [](const auto& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

}  // namespace
}  // namespace bertie
