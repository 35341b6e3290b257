// Nodes of plugins' ops for which there is no kernel run as their composition.
#pragma once

#include "engine/kernel_choice.h"

namespace bertie {

// Also, where `compositions_first`, those that have both: the reference device computes what an op means. Throws
// Error(unsupported) with the kernels' reasons where a node has neither.
void expand_plugins(Network& network, KernelChooser& chooser, bool compositions_first);

}  // namespace bertie
