// where: of each element, x's where the condition holds, else y's; all three broadcast.
#pragma once

#include "cuda/kernels/elementwise.h"

namespace bertie::cuda {

struct WhereParams {
  const uint8_t* condition;
  const void *a, *b;
  void* y;
  int32_t element_bytes;  // 1, 2, 4 or 8
  int32_t axes;
  int64_t count;                                                                                         // of y
  int64_t extents[kMostAxes], condition_strides[kMostAxes], a_strides[kMostAxes], b_strides[kMostAxes];  // 0 where it broadcasts
};

cudaError_t launch_where(const WhereParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
