#include "calibration/layer_inputs.h"

#include <map>

#include <fmt/format.h>

#include "passes/pass.h"

namespace bertie::calibration {

LayerInputs with_layer_inputs(Network network) {
  run_logical_passes(network, {});
  LayerInputs result;
  {
    // The pass itself says which layers; a copy keeps its marks.
    Network marked = network;
    PassOptions options;
    options.precision = "int8";
    const Calibration any;
    options.calibration = &any;  // beside a calibration what a quantised file says of its layers does not count
    PassReport report;
    PassLog log(report);
    assign_precision(marked, options, log);
    std::map<ValueId, size_t> places;
    for (const NodeId id : marked.order()) {
      const Node& node = marked.node(id);
      if (node.op != "linear" || node.text("precision", "fp32") != "int8") continue;
      const auto [place, fresh] = places.try_emplace(node.input(0), result.inputs.size());
      if (fresh)
        result.inputs.push_back({fmt::format("layer_input_{}", place->second), marked.value(node.input(1)).shape[1].size});
      LayerInput& input = result.inputs[place->second];
      input.layers.push_back(node.name);
      input.weights.push_back(node.input(1));
    }
    for (const auto& [value, place] : places) network.add_output(result.inputs[place].output, value);
  }
  result.network = std::move(network);
  return result;
}

}  // namespace bertie::calibration
