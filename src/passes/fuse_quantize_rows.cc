// quantize_rows moves into the op that makes the rows, which then gives eight bits in place of floats, or beside them where they are read
// too: a row is quantised while it is in the cache.
#include "network/eight_bit_linear.h"
#include "passes/pass.h"

namespace bertie {

void fuse_quantize_rows(Network& network, const PassOptions&, PassLog& log) {
  for (const NodeId id : network.order()) {
    const Node quantize = network.node(id);
    if (quantize.op != "quantize_rows") continue;
    const ValueId x = quantize.input(0);
    const NodeId producer_id = network.value(x).producer;
    if (producer_id == kNone) {
      log.refused("{}: its rows are an input of the network", quantize.name);
      continue;
    }
    const Node source = network.node(producer_id);
    const bool can = source.op == "layer_norm" || source.op == "skip_layer_norm" || source.op == "embedding_layer_norm" ||
                     source.op == "attention" || is_eight_bit_linear(source);
    if (!can || source.text("quantize_output", "none") != "none") {
      log.refused("{}: the rows of {} '{}' are quantised by themselves", quantize.name, source.op, source.name);
      continue;
    }
    const bool floats = !has_one_reader(network, x);
    if (floats && is_eight_bit_linear(source)) {
      log.refused("{}: the floats of '{}' are read too", quantize.name, source.name);
      continue;
    }
    const bool fixed = quantize.input(1) != kNone;
    const std::string mode = fixed ? (floats ? "fixed_both" : "fixed") : floats ? "both" : "rows";
    log.matched("{} + {} -> {} quantize_output={}", source.name, quantize.name, source.op, mode);
    Attributes attributes = source.attributes;
    attributes["quantize_output"] = mode;
    if (quantizes_to_e4m3(quantize)) attributes["quantize_element"] = std::string("e4m3");
    const std::string precision = source.text("precision", "fp32");
    attributes.erase("precision");
    std::vector<ValueId> inputs = source.inputs;
    if (fixed) {
      inputs.resize(quantization_input(source), kNone);
      inputs.push_back(quantize.input(1));
    }
    network.erase_node(id);
    network.erase_node(producer_id);
    const auto fused = network.add_node(source.op, inputs, std::move(attributes), source.name);
    if (precision != "fp32") network.mutable_node(network.value(fused[0]).producer).attributes["precision"] = precision;
    if (floats) network.replace_uses(x, fused[0]);
    network.replace_uses(quantize.outputs[0], fused[floats ? 1 : 0]);
    if (!fixed) network.replace_uses(quantize.outputs[1], fused[floats ? 2 : 1]);
  }
}

}  // namespace bertie
