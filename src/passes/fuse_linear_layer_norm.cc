// A linear layer without activation whose result skip_layer_norm alone reads becomes linear_skip_layer_norm, where the device has a kernel
// that keeps its sums in registers.
#include "network/linear_skip_layer_norm.h"
#include "passes/match.h"
#include "passes/pass.h"

namespace bertie {
namespace {

bool is_linear(const Node& node) { return node.op == "linear" || is_eight_bit_linear(node); }

// The inputs of `linear` in the fused op's places.
std::vector<ValueId> inputs_of(const Node& linear) {
  if (linear.op == "linear") return {linear.input(0), kNone, linear.input(1), kNone, linear.input(2)};
  std::vector<ValueId> inputs;
  for (size_t i = 0; i <= kLinearBias; ++i) inputs.push_back(linear.input(i));
  return inputs;
}

// Why the two stay apart; empty: they need not.
std::string obstacle(const Network& network, const Node& linear, const Node& norm, ValueId product, const PassOptions& options) {
  const bool eight_bits = is_eight_bit_linear(linear);
  const std::string precision = norm.text("precision", "fp32");
  const QuantizedOutput output(norm);
  if (linear.text("activation", "none") != "none") return "it has an activation";
  if (eight_bits && linear.input(kLinearResidual) != kNone) return "it has a residual of its own";
  if (linear.text("quantize_output", "none") != "none") return "its rows are quantised";
  if (!has_one_reader(network, product)) return "its rows are read elsewhere too";
  if (linear.text("precision", "fp32") != precision) return "it is computed in another precision";
  if (precision != "fp16" && (eight_bits || precision != "bf16")) return "in " + precision + " the device has no such kernel";
  if (!output.floats || (output.integers && !output.fixed))
    return "the norm's rows are quantised by scales of their own, or alone";
  if (output.integers && (!eight_bits || (linear.op == "fp8_linear") != output.e4m3))
    return "the norm's rows are quantised to another element than the layer's";
  const std::vector<ValueId> inputs = inputs_of(linear);
  for (const ValueId input : {inputs[kLinearWeight], inputs[kLinearWeightScale], inputs[kLinearBias], norm.input(2),
                              norm.input(3), norm.input(quantization_input(norm))}) {
    if (input != kNone && !is_constant(network, input)) return "not all of its parameters are constants";
  }
  for (const auto* own : {&inputs, &norm.inputs}) {
    for (const ValueId input : *own)
      if (input != kNone && network.value(input).dtype == DType::f64) return "it reads float64";
  }
  const SymbolicShape& weight = network.value(inputs[kLinearWeight]).shape;
  const int64_t depth_bytes = weight[1].size * (eight_bits ? 1 : 2);
  if (!options.fuses_linear_layer_norm(weight[0].size, depth_bytes))
    return fmt::format("the device has no such kernel for {} columns, {} bytes deep", weight[0].size, depth_bytes);
  return "";
}

}  // namespace

void fuse_linear_layer_norm(Network& network, const PassOptions& options, PassLog& log) {
  if (!options.fuses_linear_layer_norm) return;
  for (const NodeId id : network.order()) {
    const Node norm = network.node(id);
    if (norm.op != "skip_layer_norm" || norm.input(0) == norm.input(1)) continue;
    for (const size_t addend : {size_t{0}, size_t{1}}) {
      const ValueId product = norm.input(addend);
      const Node* made = producer(network, product);
      if (!made || !is_linear(*made)) continue;
      const Node linear = *made;
      if (const std::string reason = obstacle(network, linear, norm, product, options); !reason.empty()) {
        log.refused("{}: '{}': {}", norm.name, linear.name, reason);
        continue;
      }
      log.matched("{} + {} -> linear_skip_layer_norm", linear.name, norm.name);
      std::vector<ValueId> inputs = inputs_of(linear);
      inputs.insert(inputs.end(), {norm.input(1 - addend), norm.input(2), norm.input(3), norm.input(quantization_input(norm))});
      Attributes attributes = norm.attributes;
      attributes.erase("precision");
      const NodeId linear_id = network.value(product).producer;
      network.erase_node(id);
      network.erase_node(linear_id);
      const auto fused = network.add_node("linear_skip_layer_norm", inputs, std::move(attributes), norm.name);
      network.mutable_node(network.value(fused[0]).producer).attributes["precision"] = norm.text("precision", "fp32");
      for (size_t i = 0; i < fused.size(); ++i) network.replace_uses(norm.outputs[i], fused[i]);
      break;
    }
  }
}

}  // namespace bertie
