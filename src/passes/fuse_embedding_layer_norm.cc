// A sum of embeddings -> layer_norm becomes embedding_layer_norm: the rows of up to three tables in, one row out.
// The sum is (word + type) + position whatever the order of the adds: one stated order, so that results do not depend on spelling. A
// constant row among them (the type row of a graph without token types) is added to the position table beforehand.
#include <algorithm>

#include "passes/match.h"
#include "passes/pass.h"

namespace bertie {
namespace {

struct Sum {
  std::vector<const Node*> embeddings;
  std::vector<ValueId> rows;  // constants [E], whatever their leading axes of extent 1
  std::vector<NodeId> inner;  // nodes that the fused one takes in
};

bool is_row(const Network& network, ValueId value) {
  const Value& constant = network.value(value);
  return constant.constant && !constant.shape.empty() && constant.shape.back() == Dim(constant.constant->shape.elements());
}

// The embeddings and rows under a tree of single-reader adds. False where anything else is in it.
bool collect(const Network& network, ValueId value, Sum& sum) {
  if (is_row(network, value)) {
    sum.rows.push_back(value);
    return true;
  }
  const Node* node = producer(network, value);
  if (!node || !has_one_reader(network, value)) return false;
  sum.inner.push_back(network.value(value).producer);
  if (node->op == "embedding") {
    sum.embeddings.push_back(node);
    return true;
  }
  return is_function(node, "elementwise", "add") && collect(network, node->input(0), sum) &&
         collect(network, node->input(1), sum);
}

// The table with a row added to each of its own.
ValueId add_to_table(Network& network, ValueId table, const std::vector<ValueId>& rows) {
  const Tensor& tensor = *network.value(table).constant;
  const int64_t width = tensor.shape[1];
  std::vector<float> numbers(static_cast<size_t>(tensor.shape.elements()));
  for (size_t i = 0; i < numbers.size(); ++i) {
    double number = element(tensor.view(), static_cast<int64_t>(i));
    for (ValueId row : rows) number += element(network.value(row).constant->view(), static_cast<int64_t>(i) % width);
    numbers[i] = static_cast<float>(number);
  }
  return network.add_constant(network.value(table).name, Tensor::from_floats(tensor.shape, numbers));
}

}  // namespace

void fuse_embedding_layer_norm(Network& network, const PassOptions&, PassLog& log) {
  for (NodeId id : network.order()) {
    const Node node = network.node(id);
    if (node.op != "layer_norm") continue;
    Sum sum;
    if (!collect(network, node.input(0), sum) || sum.embeddings.empty()) continue;
    ValueId ids[3] = {kNone, kNone, kNone};
    ValueId tables[3] = {kNone, kNone, kNone};
    bool recognised = sum.embeddings.size() <= 3;
    std::vector<std::string> names;
    for (const Node* embedding : sum.embeddings) {
      const InputRole role = network.value(embedding->input(1)).role;
      const int slot = role == InputRole::token_ids      ? 0
                       : role == InputRole::type_ids     ? 1
                       : role == InputRole::position_ids ? 2
                                                         : -1;
      recognised = recognised && slot >= 0 && tables[slot] == kNone;
      if (!recognised) break;
      tables[slot] = embedding->input(0);
      ids[slot] = embedding->input(1);
      names.push_back(embedding->name);
    }
    if (!recognised || tables[0] == kNone) {
      log.refused("{}: its embeddings are not of token ids, token types and positions", node.name);
      continue;
    }
    if (!sum.rows.empty()) {
      ValueId& table = tables[2] != kNone ? tables[2] : tables[1] != kNone ? tables[1] : tables[0];
      if (!is_constant(network, table)) {
        log.refused("{}: a row is added to embeddings of no constant table", node.name);
        continue;
      }
      for (ValueId row : sum.rows) names.push_back(network.value(row).name);
      table = add_to_table(network, table, sum.rows);
    }
    log.matched("{} + {} -> embedding_layer_norm", fmt::join(names, " + "), node.name);
    network.erase_node(id);
    for (NodeId dead : sum.inner) network.erase_node(dead);
    const auto fused = network.add_node("embedding_layer_norm",
                                        {ids[0], ids[1], ids[2], tables[0], tables[1], tables[2], node.input(1), node.input(2)},
                                        node.attributes, node.name + ".embedding");
    network.replace_uses(node.outputs[0], fused[0]);
  }
}

}  // namespace bertie
