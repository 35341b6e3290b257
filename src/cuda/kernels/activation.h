// activation: y = f(x) for each element, in float32. GELU is exact (erf) or the tanh form. `x` and `y` may be the same.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

enum class Activation : int32_t { none, gelu, gelu_tanh, relu, silu, tanh };

struct ActivationParams {
  const void* x;  // [rows, width], 16-byte aligned
  void* y;
  Element x_element, y_element;
  Activation function;
  int64_t rows, width;
  const int32_t* live_rows;  // of `rows`; nullptr: all
  int32_t* overflow;         // gets min(*overflow, step) where a live x or y is not finite; nullptr: not looked for
  int32_t step;
};

cudaError_t launch_activation(const ActivationParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
