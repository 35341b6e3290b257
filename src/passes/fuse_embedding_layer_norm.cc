// add(add(embedding, embedding), embedding) -> layer_norm becomes embedding_layer_norm: three table rows in, one row out.
// The sum is (word + type) + position whatever the order of the adds: one stated order, so that results do not depend on spelling.
#include <algorithm>

#include "passes/pass.h"

namespace bertie {
namespace {

// The embeddings under a tree of single-reader adds. False where anything else is in it.
bool collect_embeddings(const Network& network, ValueId sum, std::vector<const Node*>& embeddings, std::vector<NodeId>& inner) {
  const Node* node = producer(network, sum);
  if (!node || !has_one_reader(network, sum)) return false;
  inner.push_back(network.value(sum).producer);
  if (node->op == "embedding") {
    embeddings.push_back(node);
    return true;
  }
  return node->op == "elementwise" && node->text("function") == "add" &&
         collect_embeddings(network, node->input(0), embeddings, inner) &&
         collect_embeddings(network, node->input(1), embeddings, inner);
}

// Which network input the ids come from; -1 where they are computed.
std::string ids_name(const Network& network, const Node& embedding) {
  const Value& ids = network.value(embedding.input(1));
  return ids.producer == kNone && !ids.constant ? ids.name : "";
}

}  // namespace

void fuse_embedding_layer_norm(Network& network, const PassOptions&, PassLog& log) {
  for (NodeId id : network.order()) {
    const Node node = network.node(id);
    if (node.op != "layer_norm") continue;
    std::vector<const Node*> found;
    std::vector<NodeId> inner;
    if (!collect_embeddings(network, node.input(0), found, inner) || found.empty()) continue;
    ValueId ids[3] = {kNone, kNone, kNone};
    ValueId tables[3] = {kNone, kNone, kNone};
    bool recognised = found.size() <= 3;
    std::vector<std::string> names;
    for (const Node* embedding : found) {
      const std::string name = ids_name(network, *embedding);
      const int slot = name == "input_ids" ? 0 : name == "token_type_ids" ? 1 : name == "position_ids" ? 2 : -1;
      recognised = recognised && slot >= 0 && tables[slot] == kNone;
      if (!recognised) break;
      tables[slot] = embedding->input(0);
      ids[slot] = embedding->input(1);
      names.push_back(embedding->name);
    }
    if (!recognised || tables[0] == kNone) {
      log.refused("{}: its embeddings are not of input_ids, token_type_ids and position_ids", node.name);
      continue;
    }
    log.matched("{} + {} -> embedding_layer_norm", fmt::join(names, " + "), node.name);
    network.erase_node(id);
    for (NodeId dead : inner) network.erase_node(dead);
    const auto fused = network.add_node("embedding_layer_norm",
                                        {ids[0], ids[1], ids[2], tables[0], tables[1], tables[2], node.input(1), node.input(2)},
                                        node.attributes, node.name + ".embedding");
    network.replace_uses(node.outputs[0], fused[0]);
  }
}

}  // namespace bertie
