#include "calibration/layer_outputs.h"

#include <fmt/format.h>

#include "passes/pass.h"

namespace bertie::calibration {
namespace {

bool is_norm(const Node& node) { return node.op == "layer_norm" || node.op == "skip_layer_norm"; }

// The norm that `node`'s first input is made from by way of first inputs; nullptr: none.
const Node* norm_above(const Network& network, const Node& node) {
  const Node* above = producer(network, node.input(0));
  while (above && !is_norm(*above)) above = producer(network, above->input(0));
  return above;
}

}  // namespace

LayerOutputs with_layer_outputs(Network network) {
  run_logical_passes(network, {});
  std::vector<const Node*> layers, norms;  // norms behind the last attention
  size_t attentions = 0;
  for (const NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (node.op == "attention") {
      if (attentions++ > 0) layers.push_back(norm_above(network, node));
      norms.clear();
    } else if (is_norm(node)) {
      norms.push_back(&node);
    }
  }
  if (attentions > 0) layers.push_back(norms.size() > 1 ? norms[1] : nullptr);

  LayerOutputs result;
  std::vector<ValueId> values;
  for (const Node* layer : layers) {
    if (!layer) return {std::move(network), {}, {}};
    values.push_back(layer->outputs[0]);
    result.nodes.push_back(layer->name);
    result.outputs.push_back(fmt::format("encoder_layer_{}", values.size() - 1));
  }
  for (size_t i = 0; i < values.size(); ++i) network.add_output(result.outputs[i], values[i]);
  result.network = std::move(network);
  return result;
}

}  // namespace bertie::calibration
