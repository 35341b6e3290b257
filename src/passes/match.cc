#include "passes/match.h"

#include <algorithm>

#include "passes/pass.h"

namespace bertie {

std::optional<double> scalar(const Network& network, ValueId value) {
  if (value == kNone) return std::nullopt;
  const auto& constant = network.value(value).constant;
  if (!constant || constant->shape.elements() != 1) return std::nullopt;
  return element(constant->view(), 0);
}

std::optional<ScalarOperand> scalar_operand(const Network& network, const Node& node) {
  if (node.op != "elementwise") return std::nullopt;
  const auto first = scalar(network, node.input(0));
  const auto second = scalar(network, node.input(1));
  if (first.has_value() == second.has_value()) return std::nullopt;
  if (second) return ScalarOperand{node.input(0), *second, false};
  return ScalarOperand{node.input(1), *first, true};
}

bool is_constant(const Network& network, ValueId value) { return value != kNone && network.value(value).constant.has_value(); }

bool is_network_input(const Network& network, ValueId value) {
  const auto inputs = network.inputs();
  return std::find(inputs.begin(), inputs.end(), value) != inputs.end();
}

bool is_function(const Node* node, std::string_view op, std::string_view function) {
  return node && node->op == op && node->text("function") == function;
}

std::string take_name(Network& network, ValueId value) {
  const NodeId id = network.value(value).producer;
  const std::string name = network.node(id).name;
  if (network.node(id).outputs.size() == 1) network.erase_node(id);
  return name;
}

Cone cone_of(const Network& network, ValueId top, const std::set<ValueId>& roots, size_t limit,
             const std::function<bool(const Node&)>& allowed) {
  Cone cone;
  std::set<NodeId> seen;
  std::vector<ValueId> pending = {top};
  while (!pending.empty() && !cone.stopped) {
    const ValueId value = pending.back();
    pending.pop_back();
    if (value == kNone) continue;
    if (roots.contains(value)) {
      cone.roots.insert(value);
      continue;
    }
    if (is_constant(network, value)) {
      cone.constants.insert(value);
      continue;
    }
    const NodeId id = network.value(value).producer;
    if (id == kNone) {
      cone.inputs.insert(value);
      continue;
    }
    if (!seen.insert(id).second) continue;
    const Node& node = network.node(id);
    if (cone.nodes.size() == limit || !allowed(node)) {
      cone.stopped = &node;
      break;
    }
    cone.nodes.push_back(id);
    if (node.op == "shape" || node.op == "size") {
      if (is_network_input(network, node.input(0))) {
        cone.shapes.insert(node.input(0));
        continue;
      }
    }
    pending.insert(pending.end(), node.inputs.begin(), node.inputs.end());
  }
  return cone;
}

std::string node_key(const Node& node) {
  std::string key = node.op;
  for (ValueId input : node.inputs) key += fmt::format(" {}", input);
  for (const auto& [name, attribute] : node.attributes) {
    key += fmt::format(" {}=", name);
    // Exact, unlike to_string's decimals.
    if (const auto* real = std::get_if<double>(&attribute)) {
      key += fmt::format("{:a}", *real);
    } else {
      key += fmt::format("{}:{}", attribute.index(), to_string(attribute));
    }
  }
  return key;
}

}  // namespace bertie
