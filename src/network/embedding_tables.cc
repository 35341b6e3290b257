#include "network/embedding_tables.h"

namespace bertie {

std::set<const void*> embedding_tables(const Network& network) {
  std::set<const void*> tables;
  for (const NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op != "embedding" && node.op != "embedding_layer_norm") continue;
    for (const ValueId input : node.inputs)
      if (input != kNone && network.value(input).constant) tables.insert(network.value(input).constant->data.get());
  }
  return tables;
}

}  // namespace bertie
