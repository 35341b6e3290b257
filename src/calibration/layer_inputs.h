// A network that gives what its linear layers read.
#pragma once

#include <string>
#include <vector>

#include "bertie/network.h"

namespace bertie::calibration {

// A value that linear layers read.
struct LayerInput {
  std::string output;               // of the network below
  int64_t width = 0;                // its last axis
  std::vector<std::string> layers;  // by the names under which an engine runs them
  std::vector<ValueId> weights;     // theirs, [N, width] each, constants
};

struct LayerInputs {
  Network network;                 // its own outputs kept
  std::vector<LayerInput> inputs;  // in the order in which they are computed
};

// Of the layers that would run in eight bits.
LayerInputs with_layer_inputs(Network network);

}  // namespace bertie::calibration
