// gather: slices of x along one axis.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

struct GatherParams {
  const void* x;         // [outer, extent, inner_bytes]
  const void* indices;   // [count], each within [-extent, extent)
  int32_t wide_indices;  // i64, else i32
  void* y;               // [outer, count, inner_bytes]
  int64_t outer, extent, count, inner_bytes;
};

cudaError_t launch_gather(const GatherParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
