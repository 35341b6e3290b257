// linear -> gelu | relu | silu | tanh becomes linear with an activation, applied while the product is in registers.
#include "passes/pass.h"

namespace bertie {
namespace {

// The linear op's name for this activation node, or "" where it has none.
std::string activation_of(const Node& node) {
  if (node.op == "gelu") return node.text("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu";
  if (node.op != "unary") return "";
  const std::string function = node.text("function");
  return function == "relu" || function == "silu" || function == "tanh" ? function : "";
}

}  // namespace

void fuse_linear_activation(Network& network, const PassOptions&, PassLog& log) {
  for (NodeId id : network.order()) {
    const Node& node = network.node(id);
    const std::string activation = activation_of(node);
    const Node* linear = activation.empty() ? nullptr : producer(network, node.input(0));
    if (!linear || linear->op != "linear") continue;
    if (linear->text("activation", "none") != "none") {
      log.refused("{}: '{}' already has an activation", node.name, linear->name);
      continue;
    }
    if (!has_one_reader(network, node.input(0))) {
      log.refused("{}: the product of '{}' is read elsewhere too", node.name, linear->name);
      continue;
    }
    log.matched("{} + {} -> linear activation={}", linear->name, node.name, activation);
    const ValueId product = node.input(0);
    network.mutable_node(network.value(product).producer).attributes["activation"] = activation;
    network.replace_uses(node.outputs[0], product);
    network.erase_node(id);
  }
}

}  // namespace bertie
