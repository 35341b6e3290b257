// cast: numbers of one kind as another. A float is truncated to an integer and what lies outside takes the nearest end, an integer that
// does not fit drops its high bits, and what is not 0 is true.
#pragma once

#include "cuda/kernels/elementwise.h"

namespace bertie::cuda {

struct CastParams {
  const void* x;
  void* y;
  Number from, to;
  int32_t to_boolean;  // `to` is u8 then
  int64_t count;
};

cudaError_t launch_cast(const CastParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
