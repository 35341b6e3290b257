#include "passes/region.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "network/op.h"
#include "passes/match.h"
#include "passes/pass.h"
#include "passes/probe.h"

namespace bertie {
namespace {

constexpr size_t kLargest = 48;  // nodes; the longest known spelling has 20

// A concrete shape for the root with at least `rows` rows where it has an open axis.
Shape concrete_shape(const SymbolicShape& symbolic, int64_t rows) {
  std::map<std::string, int64_t> symbols;
  std::vector<int64_t> extents;
  for (const Dim& dim : symbolic) {
    int64_t extent = dim.size;
    if (!dim.is_fixed()) extent = symbols.try_emplace(dim.symbol, symbols.empty() ? rows : 1).first->second;
    extents.push_back(extent);
  }
  return Shape(extents);
}

Cone between(const Network& network, ValueId root, ValueId value) {
  return cone_of(network, value, {root}, kLargest, [](const Node&) { return true; });
}

}  // namespace

bool over_last_axis(const Network& network, const Node& node) {
  const auto axes = node.input(1) == kNone ? std::nullopt : known_elements(network.value(node.input(1)));
  const int64_t rank = static_cast<int64_t>(network.value(node.input(0)).shape.size());
  return axes && axes->size() == 1 && axes->front().is_fixed() && (axes->front().size == -1 || axes->front().size == rank - 1);
}

bool is_row_wise(const Network& network, const Node& node) {
  if (node.op == "reduce") return over_last_axis(network, node);
  return node.op == "unary" || node.op == "elementwise" || node.op == "clip" || node.op == "unsqueeze" || node.op == "expand";
}

Region region_from(const Network& network, ValueId root, const AllowedNode& allowed) {
  Region region{root, {}};
  std::set<ValueId> inside = {root};
  std::vector<ValueId> pending = {root};
  while (!pending.empty() && region.values.size() < kLargest) {
    const ValueId value = pending.back();
    pending.pop_back();
    for (NodeId id : network.consumers(value)) {
      const Node& node = network.node(id);
      if (node.outputs.size() != 1 || inside.contains(node.outputs[0]) || !allowed(network, node)) continue;
      const bool closed = std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId input) {
        return input == kNone || inside.contains(input) || is_constant(network, input);
      });
      if (!closed) continue;
      inside.insert(node.outputs[0]);
      region.values.push_back(node.outputs[0]);
      pending.push_back(node.outputs[0]);
    }
  }
  // A node joins after its inputs, so the order in which they joined is a topological one.
  return region;
}

std::vector<ValueId> possible_roots(const Network& network, ValueId value, const AllowedNode& allowed) {
  std::vector<ValueId> roots = {value};
  for (size_t i = 0; i < roots.size() && roots.size() < kLargest; ++i) {
    const Node* node = producer(network, roots[i]);
    if (!node || !allowed(network, *node)) continue;
    for (ValueId input : node->inputs) {
      if (input == kNone || is_constant(network, input)) continue;
      if (std::find(roots.begin(), roots.end(), input) == roots.end()) roots.push_back(input);
    }
  }
  return roots;
}

RegionValues run_region(const Network& network, const Region& region, int64_t rows,
                        const std::function<double(int64_t row, int64_t column)>& fill) {
  const Value& root = network.value(region.root);
  RegionValues result;
  if (root.shape.empty() || root.dtype != DType::f32) return result;
  const Shape shape = concrete_shape(root.shape, rows);
  const int64_t elements = shape.elements();
  result.columns = shape.back();
  if (elements == 0) return result;
  result.rows = elements / result.columns;
  for (int64_t i = 0; i < elements; ++i) result.root.push_back(static_cast<float>(fill(i / result.columns, i % result.columns)));
  const auto tensors = try_evaluate(network, region.values, {{region.root, Tensor::from_floats(shape, result.root)}});
  if (!tensors) return result;
  for (const Tensor& tensor : *tensors) {
    auto& values = result.values.emplace_back();
    if (tensor.dtype != DType::f32 || !(tensor.shape == shape)) continue;
    values.assign(tensor.view().as<float>(), tensor.view().as<float>() + elements);
  }
  return result;
}

std::vector<std::string> names_between(const Network& network, ValueId root, ValueId value) {
  std::vector<NodeId> nodes = between(network, root, value).nodes;
  std::sort(nodes.begin(), nodes.end());
  std::vector<std::string> names;
  for (NodeId id : nodes) names.push_back(network.node(id).name);
  return names;
}

std::vector<ValueId> constants_between(const Network& network, ValueId root, ValueId value) {
  const Cone cone = between(network, root, value);
  return {cone.constants.begin(), cone.constants.end()};
}

double noise(int64_t row, int64_t column) {
  const double t = static_cast<double>((row * 7919 + column * 104729) % 10007);
  return 1.7 * std::sin(t * 12.9898 + 0.1 * static_cast<double>(column)) - 0.2 * std::cos(t);
}

double shortest_decimal(double value) {
  const float narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) != value) return value;
  char text[32];
  const auto written = std::to_chars(text, text + sizeof text, narrow);
  double exact = value;
  std::from_chars(text, written.ptr, exact);
  return exact;
}

}  // namespace bertie
