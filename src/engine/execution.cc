#include "engine/execution.h"

#include <algorithm>

#include <fmt/format.h>

#include "backend/batch_shape.h"
#include "engine/network_inputs.h"
#include "network/op.h"

namespace bertie {
namespace {

bool is_plannable(const Value& value) {
  return std::all_of(value.shape.begin(), value.shape.end(), [](const Dim& dim) { return dim.is_fixed() || extent_source(dim); });
}

bool has_all_extents(const Network& network, const Node& node) {
  return std::all_of(node.outputs.begin(), node.outputs.end(), [&](ValueId id) { return is_plannable(network.value(id)); });
}

}  // namespace

Execution choose_execution(const Network& network) {
  const auto step_by_step = [](std::string reason) { return Execution{false, std::move(reason)}; };
  const auto inputs = network.inputs();
  for (ValueId id : inputs) {
    const Value& value = network.value(id);
    if (is_read(network, id) && !is_plannable(value))
      return step_by_step(fmt::format("input '{}' is {}", value.name, to_string(value.shape)));
  }
  for (const Network::Output& output : network.outputs()) {
    if (std::find(inputs.begin(), inputs.end(), output.value) != inputs.end())
      return step_by_step(fmt::format("output '{}' is an input", output.name));
  }
  for (NodeId id : network.order()) {
    const Node& node = network.node(id);
    if (has_all_extents(network, node)) continue;
    return step_by_step(fmt::format("'{}' gives {}", node.name, to_string(network.value(node.outputs[0]).shape)));
  }
  return {true, "every extent is fixed or tokens, rows or batch"};
}

bool belongs_on_host(const Network& network, const Node& node, const std::vector<bool>& host_values) {
  if (node.op == "shape" || node.op == "size") return true;  // of extents alone
  const auto inputs = network.inputs();
  const auto is_there = [&](ValueId id) {
    return id == kNone || network.value(id).constant || host_values[static_cast<size_t>(id)] ||
           std::find(inputs.begin(), inputs.end(), id) != inputs.end();
  };
  const auto is_float_value = [&](ValueId id) { return is_float(network.value(id).dtype); };
  return std::all_of(node.inputs.begin(), node.inputs.end(), is_there) &&
         std::none_of(node.outputs.begin(), node.outputs.end(), is_float_value);
}

std::string rows_of(const Network& network, const Node& node) {
  bool padded = false, packed = false;
  const auto note = [&](ValueId id) {
    if (id == kNone) return;
    const SymbolicShape& shape = network.value(id).shape;
    packed = packed || is_packed(network.value(id));
    padded = padded || std::any_of(shape.begin(), shape.end(), [](const Dim& dim) {
               return !dim.is_fixed() && dim.symbol.find("sequence") != std::string::npos;
             });
  };
  for (ValueId id : node.inputs) note(id);
  for (ValueId id : node.outputs) note(id);
  return padded && node.op != "pack_rows" ? "padded" : packed ? "packed" : "";
}

}  // namespace bertie
