// normalize: each row over its Euclidean length, or over epsilon where that is larger. Sums in float32.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

struct NormalizeParams {
  const void* x;  // [rows, width]
  float* y;
  Element element;
  int64_t rows, width;
  float epsilon;
  const int32_t* live_rows;  // of `rows`; nullptr: all
};

cudaError_t launch_normalize(const NormalizeParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
