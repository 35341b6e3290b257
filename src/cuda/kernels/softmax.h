// softmax of float32 along one axis, or its logarithm.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

struct SoftmaxParams {
  const float* x;                // [outer, extent, inner]
  float* y;                      // likewise
  int64_t outer, extent, inner;  // extent > 0
  int32_t logarithm;
};

cudaError_t launch_softmax(const SoftmaxParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
