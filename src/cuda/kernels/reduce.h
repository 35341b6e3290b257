// reduce: one number of the elements along some axes. Floats are float32.
#pragma once

#include "cuda/kernels/elementwise.h"

namespace bertie::cuda {

// In the order of the names in cuda/reduce.cc.
enum class ReduceFunction : int32_t { mean, sum, max, min, prod, l1, l2, sum_square, log_sum, log_sum_exp };

struct ReduceParams {
  const float* x;
  float* y;
  ReduceFunction function;
  int32_t kept_axes, axes;                                   // that stay, in y's order, and that go
  int64_t count, terms;                                      // of y, and of x for each
  int64_t kept_extents[kMostAxes], kept_strides[kMostAxes];  // strides are x's
  int64_t extents[kMostAxes], strides[kMostAxes];
};

cudaError_t launch_reduce(const ReduceParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
