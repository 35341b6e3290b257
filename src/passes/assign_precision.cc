// Says of each linear layer in which precision it is computed, where the network is not wanted in float32 alone.
#include <set>

#include "passes/pass.h"

namespace bertie {
namespace {

// Bytes that an embedding looks up rows in: a decoder that multiplies by the same table reads it as it is.
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

}  // namespace

void assign_precision(Network& network, const PassOptions& options, PassLog& log) {
  if (options.precision != "int8") return;
  const std::set<const void*> tables = embedding_tables(network);
  std::vector<std::string> assigned;
  for (const NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op != "linear") continue;
    const std::optional<Tensor>& weight = network.value(node.input(1)).constant;
    if (!weight) {
      log.refused("{}: its weight is not a constant", node.name);
    } else if (tables.contains(weight->data.get())) {
      log.refused("{}: its weight is an embedding's table too", node.name);
    } else if (node.input(2) != kNone && !network.value(node.input(2)).constant) {
      log.refused("{}: its bias is not a constant", node.name);
    } else {
      network.mutable_node(id).attributes["precision"] = options.precision;
      assigned.push_back(node.name);
    }
  }
  log.matched_each(options.precision, assigned);
}

}  // namespace bertie
