// Says of each node in which precision it is computed, where the network is not wanted in float32 alone: by default
// EngineOptions::precision, by name EngineOptions::layer_precision. Some precisions are for linear layers alone, as the device has it;
// attention is in eight bits where it is named.
#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "network/eight_bit_linear.h"
#include "network/embedding_tables.h"
#include "passes/pass.h"
#include "quant/fp8.h"

namespace bertie {

std::string_view no_linear(const Network& network, const Node& node) {
  if (node.op != "linear") return "it is no linear layer";
  if (!network.value(node.input(1)).constant) return "its weight is not a constant";
  if (node.input(2) != kNone && !network.value(node.input(2)).constant) return "its bias is not a constant";
  return "";
}

namespace {

// Whether the file says how its input is to be quantised.
bool is_quantized(const Network& network, const Node& linear) {
  const Node* source = producer(network, linear.input(0));
  return source && source->op == "fake_quantize";
}

// Said by the engine file that the network is from.
bool held_in_bf16(const Node& node) { return is_linear_in(node, "bf16"); }

// Why it cannot be computed in `precision`; `named`: it is asked for by name.
std::string no_layer(const Network& network, const Node& node, const PassOptions& options, const std::string& precision,
                     const std::set<const void*>& tables, bool named) {
  if (node.op == "attention" && (precision == "int8" || precision == "fp8") && named) return "";
  if (node.op == "int8_linear") return precision == "int8" ? "" : "its weight is held in eight bits";
  if (node.op == "fp8_linear") return precision == "fp8" ? "" : "its weight is held in fp8";
  if (held_in_bf16(node)) return precision == "bf16" ? "" : "its weight is held in bfloat16";
  if (!options.is_linear_only(precision)) return "";
  const std::string_view refusal = no_linear(network, node);
  if (!refusal.empty()) return std::string(refusal);
  const bool fp8 = precision == "fp8";
  const Tensor& weight = *network.value(node.input(1)).constant;
  if ((precision == "int8" || fp8) && tables.contains(weight.data.get())) return "its weight is an embedding's table too";
  if (fp8 && (weight.shape[0] % kFp8Multiple != 0 || weight.shape[1] % kFp8Multiple != 0 || weight.shape[1] == 0)) {
    return fmt::format("its weight is {}: products in fp8 are of multiples of {}", weight.shape.to_string(), kFp8Multiple);
  }
  return "";
}

// Eight bits but where the calibration says that they cost too much.
std::string automatic(const Node& node, const Calibration& calibration, PassLog& log) {
  const auto kept = calibration.kept.find(node.name);
  if (kept == calibration.kept.end()) return "int8";
  log.refused("{}: stays in float32, for in eight bits it alone costs {:.3g}%", node.name, 100 * kept->second);
  return "fp32";
}

// What became of one layer precision.
struct Found {
  bool any = false, suits = false;
  std::string refusal;  // the first
};

}  // namespace

void assign_precision(Network& network, const PassOptions& options, PassLog& log) {
  if (options.precision == "fp32" && options.layer_precision.empty()) return;
  const std::set<const void*> tables = embedding_tables(network);
  const bool by_file = !options.calibration && says_eight_bits(network);
  std::vector<Found> found(options.layer_precision.size());
  std::map<std::string, std::vector<std::string>> assigned;  // by precision
  for (const NodeId id : network.order()) {
    const Node& node = network.node(id);
    std::string precision = options.precision == "auto" ? automatic(node, *options.calibration, log) : options.precision;
    precision = node.text("precision", precision);  // of an engine file that holds layers in eight bits or bfloat16
    if (by_file && precision == "int8" && node.op == "linear" && !is_quantized(network, node)) {
      log.refused("{}: the file has it in floats", node.name);
      precision = options.beside_linear_layers();
    }
    bool named = node.attributes.contains("precision");
    for (size_t i = 0; i < found.size(); ++i) {
      const LayerPrecision& layers = options.layer_precision[i];
      if (!matches_glob(layers.pattern, node.name)) continue;
      precision = layers.precision;  // the last one that names it
      found[i].any = named = true;
      const std::string refusal = no_layer(network, node, options, precision, tables, named);
      if (refusal.empty())
        found[i].suits = true;
      else if (found[i].refusal.empty())
        found[i].refusal = fmt::format("{} '{}': {}", node.op, node.name, refusal);
    }
    const std::string refusal = no_layer(network, node, options, precision, tables, named);
    if (!refusal.empty() && (node.op == "linear" || named)) log.refused("{}: {}", node.name, refusal);
    if (!refusal.empty() || is_eight_bit_linear(node)) precision = options.beside_linear_layers();
    if (held_in_bf16(node)) precision = "bf16";
    if (precision == "fp32") {
      network.mutable_node(id).attributes.erase("precision");
      continue;
    }
    network.mutable_node(id).attributes["precision"] = precision;
    assigned[precision].push_back(node.name);
  }
  for (size_t i = 0; i < found.size(); ++i) {
    const auto& [pattern, precision] = options.layer_precision[i];
    if (!found[i].any) {
      fail(ErrorCode::invalid_argument, "layer precision '{}={}': no step has such a name; `bertie inspect` lists them", pattern,
           precision);
    }
    if (!found[i].suits) fail(ErrorCode::unsupported, "layer precision '{}={}': {}", pattern, precision, found[i].refusal);
  }
  for (const auto& [precision, names] : assigned) log.matched_each(precision, names);
}

}  // namespace bertie
