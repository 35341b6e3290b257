// elementwise add -> layer_norm becomes skip_layer_norm: one read of both addends, one write.
#include "passes/pass.h"

namespace bertie {

void fuse_skip_layer_norm(Network& network, const PassOptions&, PassLog& log) {
  for (NodeId id : network.order()) {
    const Node node = network.node(id);
    if (node.op != "layer_norm") continue;
    const Node* add = producer(network, node.input(0));
    if (!add || add->op != "elementwise" || add->text("function") != "add") continue;
    const ValueId x = add->input(0);
    const ValueId residual = add->input(1);
    if (!(network.value(x).shape == network.value(residual).shape)) {
      log.refused("{}: '{}' broadcasts", node.name, add->name);
      continue;
    }
    if (!has_one_reader(network, node.input(0))) {
      log.refused("{}: the sum of '{}' is read elsewhere too", node.name, add->name);
      continue;
    }
    log.matched("{} + {} -> skip_layer_norm", add->name, node.name);
    const NodeId add_id = network.value(node.input(0)).producer;
    network.erase_node(id);
    network.erase_node(add_id);
    const auto fused =
        network.add_node("skip_layer_norm", {x, residual, node.input(1), node.input(2)}, node.attributes, node.name + ".skip");
    network.replace_uses(node.outputs[0], fused[0]);
  }
}

}  // namespace bertie
