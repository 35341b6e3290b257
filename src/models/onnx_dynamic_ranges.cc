#include "models/onnx_dynamic_ranges.h"

#include <algorithm>

#include <fmt/format.h>

#include "network/op.h"

namespace bertie::models {
namespace {

bool is_output(const Network& network, ValueId value) {
  return std::any_of(network.outputs().begin(), network.outputs().end(),
                     [&](const Network::Output& output) { return output.value == value; });
}

// Whether matmul_integer alone reads it, as this input.
bool only_multiplied(const Network& network, ValueId value, size_t input) {
  if (is_output(network, value)) return false;
  const auto consumers = network.consumers(value);
  return std::all_of(consumers.begin(), consumers.end(), [&](NodeId id) {
    const Node& node = network.node(id);
    const auto uses = std::count(node.inputs.begin(), node.inputs.end(), value);
    return node.op == "matmul_integer" && uses == 1 && node.input(input) == value;
  });
}

// Whether the scale is only multiplied with numbers that do not vary by row.
bool only_scales(const Network& network, ValueId scale) {
  if (is_output(network, scale)) return false;
  const auto consumers = network.consumers(scale);
  return std::all_of(consumers.begin(), consumers.end(), [&](NodeId id) {
    const Node& node = network.node(id);
    if (node.op != "elementwise" || node.text("function") != "mul") return false;
    const Value& other = network.value(node.input(0) == scale ? node.input(1) : node.input(0));
    return other.shape.size() <= 1 || other.dtype == DType::f32;
  });
}

}  // namespace

std::vector<std::string> quantize_rows_apart(Network& network) {
  std::vector<std::string> apart, whole;
  for (const NodeId id : network.order()) {
    Node& node = network.mutable_node(id);
    if (node.op != "dynamic_quantize_linear" || network.value(node.input(0)).shape.size() < 2) continue;
    const bool rows = only_multiplied(network, node.outputs[0], 0) && only_scales(network, node.outputs[1]) &&
                      only_multiplied(network, node.outputs[2], 2);
    (rows ? apart : whole).push_back(node.name);
    if (rows) node.attributes["per_row"] = int64_t{1};
  }
  std::vector<std::string> lines;
  if (!apart.empty()) {
    network.infer_shapes();
    lines.push_back(
        fmt::format("{} dynamic quantisations take one range a row, where ONNX takes one over the padded batch (the first: '{}')",
                    apart.size(), apart[0]));
  }
  if (!whole.empty()) {
    lines.push_back(fmt::format(
        "{} dynamic quantisations take one range over the padded batch: they are not only multiplied (the first: '{}')",
        whole.size(), whole[0]));
  }
  return lines;
}

}  // namespace bertie::models
