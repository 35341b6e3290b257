// strided_copy: elements from places that lie in one order to places that lie in another: transpose, slice, split, concat, expand.
#pragma once

#include "cuda/kernels/elementwise.h"

namespace bertie::cuda {

struct StridedCopyParams {
  const void* x;
  void* y;
  int32_t element_bytes;  // 1, 2, 4, 8 or 16, to which addresses, strides and offsets are multiples
  int32_t axes;
  int64_t count;                                                           // elements
  int64_t extents[kMostAxes], x_strides[kMostAxes], y_strides[kMostAxes];  // of an element each; x's are 0 where it is repeated
};

cudaError_t launch_strided_copy(const StridedCopyParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
