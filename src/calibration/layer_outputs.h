// A network that also gives what leaves each encoder layer.
#pragma once

#include <string>
#include <vector>

#include "bertie/network.h"

namespace bertie::calibration {

struct LayerOutputs {
  Network network;                   // its own outputs kept
  std::vector<std::string> outputs;  // of the layers, first to last; empty where no attention was recognised
  std::vector<std::string> nodes;    // what makes each
};

// A layer's output is the normalised value that the next layer's attention is made from; the last layer's is the second norm after its
// attention.
LayerOutputs with_layer_outputs(Network network);

}  // namespace bertie::calibration
