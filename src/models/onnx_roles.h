// What an ONNX graph's inputs mean, and their extents as the network's symbols.
#pragma once

#include <vector>

#include "bertie/network.h"
#include "formats/onnx_file.h"

namespace bertie::models {

struct OnnxInputs {
  std::vector<InputRole> roles;       // one an input of the graph
  std::vector<SymbolicShape> shapes;  // "batch" and "sequence" for the axes of token inputs, however the file calls them
};

OnnxInputs understand_inputs(const onnx::Graph& graph);

}  // namespace bertie::models
