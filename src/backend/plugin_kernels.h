// Plugins' kernels as a backend's table.
#pragma once

#include "backend/kernel.h"

namespace bertie {

// One entry for each op for which a plugin has kernels on the CPU; they are asked in the plugin's order. An entry's name is
// "plugin NAME vVERSION"; which of the kernels took the step stands in the reason.
const Backend& plugin_cpu_backend();
// Likewise on a GPU, which the cuda backend opens.
const Backend& plugin_cuda_backend();

}  // namespace bertie
