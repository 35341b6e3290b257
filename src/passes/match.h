// What the recognising passes ask of a network beyond pass.h: constants read as numbers, and the nodes behind a value.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/network.h"
#include "network/element.h"

namespace bertie {

// The value of a constant of one element, whatever its rank ([], [1], [1, 1]) and dtype.
std::optional<double> scalar(const Network& network, ValueId value);

// A node `function(x, c)` of one varying and one scalar constant operand.
struct ScalarOperand {
  ValueId x = kNone;
  double constant = 0;
  bool constant_first = false;  // function(c, x)
};
std::optional<ScalarOperand> scalar_operand(const Network& network, const Node& node);

bool is_constant(const Network& network, ValueId value);
bool is_network_input(const Network& network, ValueId value);
// Whether the node is `op` with this `function` attribute; nullptr is neither.
bool is_function(const Node* node, std::string_view op, std::string_view function);

// Equal for nodes that compute the same: op, inputs and attributes.
std::string node_key(const Node& node);

// Takes out the node that makes `value`, the only thing it makes, so that what takes its place may have its name, which is returned.
// The value has no producer then: its uses must be replaced.
std::string take_name(Network& network, ValueId value);

// What a value is made of.
struct Cone {
  std::vector<NodeId> nodes;  // consumers before producers
  std::set<ValueId> roots;    // those of the asked-for roots that were met
  std::set<ValueId> inputs;   // network inputs whose elements are read
  std::set<ValueId> shapes;   // network inputs of which only the extents are read
  std::set<ValueId> constants;
  const Node* stopped = nullptr;  // the node that `allowed` refused, or one behind the limit
};

// Walks up from `top`, not beyond `roots`, through nodes that `allowed` takes, at most `limit` of them.
Cone cone_of(const Network& network, ValueId top, const std::set<ValueId>& roots, size_t limit,
             const std::function<bool(const Node&)>& allowed);

}  // namespace bertie
