// Computes only the rows that are wanted: of the outputs named in `select_rows` the batch's head rows, of what a `cls` pool
// reads the first row of each sequence. The selection moves up through every op that works row by row, and into attention's
// queries, so that the last layer's products too run on the wanted rows alone.
#include <algorithm>
#include <map>
#include <set>

#include "network/plugin_registry.h"
#include "passes/pass.h"
#include "passes/row_rules.h"

namespace bertie {
namespace {

const std::set<std::string_view> kRowWise = {"linear",          "int8_linear", "fp8_linear",    "linear_skip_layer_norm",
                                             "quantize_rows",   "gelu",        "unary",         "layer_norm",
                                             "skip_layer_norm", "normalize",   "fake_quantize", "top_k_log_sum_exp"};

bool is_packed(const Network& network, ValueId value) {
  return value != kNone && !network.value(value).shape.empty() && network.value(value).shape[0] == Dim("tokens");
}

bool can_restrict(const Network& network, const Node& node) {
  if (node.op == "attention") return is_packed(network, node.input(0)) && node.input(5) == kNone;
  if (node.op == "elementwise") return network.value(node.input(0)).shape == network.value(node.input(1)).shape;
  return kRowWise.contains(node.op) || (node.outputs.size() == 1 && is_row_wise_plugin(network, node));
}

// Values of which only the wanted rows are read: those in `wanted`, and upwards what only such values are made from.
std::set<ValueId> restricted_values(const Network& network, const std::set<ValueId>& wanted) {
  std::set<ValueId> restricted;
  auto order = network.order();
  std::reverse(order.begin(), order.end());
  for (NodeId id : order) {
    const Node& node = network.node(id);
    const ValueId value = node.outputs[0];
    if (!is_packed(network, value) || !can_restrict(network, node)) continue;
    const bool output = is_output(network, value);
    if (output && !wanted.contains(value)) continue;
    const auto readers = network.consumers(value);
    if (readers.empty() && !wanted.contains(value)) continue;
    const bool all = std::all_of(readers.begin(), readers.end(), [&](NodeId reader) {
      const Node& consumer = network.node(reader);
      if (consumer.op == "pool") return wanted.contains(value);
      return consumer.op != "attention" && restricted.contains(consumer.outputs[0]);
    });
    if (all) restricted.insert(node.outputs.begin(), node.outputs.end());
  }
  return restricted;
}

// Makes every restricted node run on the rows in `rows`, gathering what it reads from unrestricted values.
void restrict_to(Network& network, const std::set<ValueId>& restricted, ValueId rows) {
  std::map<ValueId, ValueId> gathered;
  const auto gather = [&](ValueId value) {
    const auto [found, fresh] = gathered.try_emplace(value, kNone);
    if (fresh) found->second = network.add_node("gather_rows", {value, rows}, {}, network.value(value).name + ".rows")[0];
    return found->second;
  };
  for (NodeId id : network.order()) {
    if (!restricted.contains(network.node(id).outputs[0])) continue;
    if (network.node(id).op == "attention") {
      Node& node = network.mutable_node(id);
      node.inputs.resize(6, kNone);
      node.inputs[5] = rows;
      continue;
    }
    for (size_t i = 0; i < network.node(id).inputs.size(); ++i) {
      const ValueId input = network.node(id).inputs[i];
      if (!is_packed(network, input) || restricted.contains(input)) continue;
      const ValueId selected = gather(input);
      network.mutable_node(id).inputs[i] = selected;
    }
  }
}

void select(Network& network, const std::set<ValueId>& wanted, const char* input, const char* extent, PassLog& log) {
  const std::set<ValueId> restricted = restricted_values(network, wanted);
  const ValueId rows = network.add_input(input, DType::i32, {Dim(extent)});
  restrict_to(network, restricted, rows);
  for (ValueId value : wanted) {
    if (restricted.contains(value)) continue;
    const ValueId selected = network.add_node("gather_rows", {value, rows}, {}, network.value(value).name + ".rows")[0];
    // Only the outputs asked for (or the pools) take the selection; other readers keep all rows.
    for (NodeId reader : network.consumers(value)) {
      Node& node = network.mutable_node(reader);
      if (node.op == "pool" && node.text("mode") == "cls") std::replace(node.inputs.begin(), node.inputs.end(), value, selected);
    }
    if (is_output(network, value)) network.replace_output(value, selected);
  }
  network.infer_shapes();
  log.matched("{} nodes run on {} alone", restricted.size(), input);
}

}  // namespace

void select_rows(Network& network, const PassOptions& options, PassLog& log) {
  std::set<ValueId> heads;
  for (const std::string& name : options.select_rows) {
    for (const Network::Output& output : network.outputs()) {
      if (output.name != name) continue;
      if (has_rows(network, output.value)) {  // it runs padded: at least its readers need no more than the wanted rows
        const ValueId padded = output.value;
        network.replace_output(padded, network.add_node("pack_rows", {padded}, {}, network.value(padded).name + ".packed")[0]);
      }
      if (!is_packed(network, output.value)) {
        log.refused("{}: not a value of each token", name);
        continue;
      }
      heads.insert(output.value);
    }
  }
  if (!heads.empty()) select(network, heads, "head_rows", "rows", log);

  // A `cls` pool is the selection of first rows.
  std::set<ValueId> pooled;
  std::vector<NodeId> pools;
  for (NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op != "pool" || node.text("mode") != "cls" || !is_packed(network, node.input(0))) continue;
    if (is_output(network, node.input(0))) continue;
    pooled.insert(node.input(0));
    pools.push_back(id);
  }
  if (pools.empty()) return;
  select(network, pooled, "first_rows", "batch", log);
  for (NodeId id : pools) {
    network.replace_uses(network.node(id).outputs[0], network.node(id).input(0));
    network.erase_node(id);
  }
}

}  // namespace bertie
