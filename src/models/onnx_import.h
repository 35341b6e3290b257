// An ONNX graph as a Network.
#pragma once

#include "bertie/network.h"
#include "formats/onnx_file.h"

namespace bertie::models {

// Ops keep ONNX's own meaning (docs/design/onnx.md has the two exceptions); functions and decided `If`s are inlined. Inputs and
// outputs keep their names. The axes of the token inputs become "batch" and "sequence", whatever the file calls them.
// Throws Error(unsupported) naming all ops that cannot be expressed, each with its count and first node; Error(invalid_file) naming
// the node or value where the graph contradicts itself.
Network import_onnx(onnx::Model model);

}  // namespace bertie::models
