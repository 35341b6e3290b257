// Runs a part of a network on concrete tensors, with the reference kernels and the shape rules on concrete extents.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "bertie/network.h"

namespace bertie {

// The values `wanted`, in their order. `inputs` gives what is known: network inputs, or any other value, whose producer is then not run.
// Only what the wanted values need must be given; where nothing but the extents of a computed value is asked for (Shape(x)) its symbols,
// bound by the inputs that are given, stand in for it. Constants, and results that are no more than another view of their bytes, are shared, not copied.
//
// Throws Error(invalid_argument) naming an input that is missing, has another dtype, or contradicts its declared shape or another input's
// extent; a node whose inputs do not fit it; an index outside its axis. Throws Error(unsupported) for a node of a packed batch.
std::vector<Tensor> evaluate(const Network& network, std::span<const ValueId> wanted, const std::map<ValueId, Tensor>& inputs);

}  // namespace bertie
