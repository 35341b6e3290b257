// Whether this build has machine code for the thread's device.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {
cudaError_t probe_kernels();  // cudaErrorNoKernelImageForDevice: it has none
}
