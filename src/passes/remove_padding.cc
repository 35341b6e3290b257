// [batch, sequence, ...] becomes packed [tokens, ...]: no padded row is computed. The network's mask input goes away, since
// every row that is left is attended; which rows belong together is the batch's business (cumulative lengths).
#include <algorithm>
#include <set>

#include "network/plugin_registry.h"
#include "passes/pass.h"

namespace bertie {
namespace {

const std::set<std::string_view> kRowWise = {"embedding", "embedding_layer_norm", "linear",          "gelu",
                                             "unary",     "layer_norm",           "skip_layer_norm", "normalize"};

bool is_padded(const SymbolicShape& shape) {
  return shape.size() >= 2 && shape[0] == Dim("batch") && shape[1] == Dim("sequence");
}

// Why dropping padded rows would change a row that stays, or "".
std::string obstacle(const Network& network, const Node& node, ValueId mask) {
  const auto padded = [&](size_t input) {
    return node.input(input) != kNone && is_padded(network.value(node.input(input)).shape);
  };
  if (node.op == "attention" || node.op == "pool") {
    const ValueId own = node.input(node.op == "attention" ? 3 : 1);
    if (!padded(0)) return "";
    if (own == mask) return "";
    if (own != kNone) return "its mask is not the network's attention_mask";
    if (node.op == "pool" && node.text("mode") == "cls") return "";
    return "it reads padded rows: it has no mask";
  }
  if (node.op == "elementwise") {
    const SymbolicShape& a = network.value(node.input(0)).shape;
    const SymbolicShape& b = network.value(node.input(1)).shape;
    if (!is_padded(a) && !is_padded(b)) return "";
    if (is_padded(a) && is_padded(b) && a.size() == b.size()) return "";
    const SymbolicShape& other = is_padded(a) ? b : a;
    const size_t rank = is_padded(a) ? a.size() : b.size();
    return other.size() + 2 <= rank ? "" : "it broadcasts over batch or sequence";
  }
  return kRowWise.contains(node.op) || is_row_wise_plugin(network, node)
             ? ""
             : fmt::format("op {} is not known to work row by row", node.op);
}

}  // namespace

void remove_padding(Network& network, const PassOptions&, PassLog& log) {
  const ValueId mask = network.input_of(InputRole::attention_mask);
  const auto order = network.order();
  for (NodeId id : order) {
    const std::string reason = obstacle(network, network.node(id), mask);
    if (reason.empty()) continue;
    log.refused("{}: {}; the network runs padded", network.node(id).name, reason);
    return;
  }
  std::vector<ValueId> packed;
  for (ValueId input : network.inputs()) {
    if (is_padded(network.value(input).shape)) packed.push_back(input);
  }
  if (packed.empty()) return;
  for (NodeId id : order) {
    Node& node = network.mutable_node(id);
    if (node.op != "attention" && node.op != "pool") continue;
    const size_t slot = node.op == "attention" ? 3 : 1;
    if (node.input(slot) == kNone) continue;
    node.inputs[slot] = kNone;
    while (node.inputs.back() == kNone) node.inputs.pop_back();
  }
  for (ValueId input : packed) {
    if (input == mask) continue;  // still what the caller gives, though no node reads it
    Value& value = network.mutable_value(input);
    value.shape.erase(value.shape.begin());
    value.shape[0] = Dim("tokens");
    value.dtype = DType::i32;
  }
  network.infer_shapes();
  log.matched("{} nodes from [batch, sequence] to [tokens]", order.size());
}

}  // namespace bertie
