// elementwise and unary: functions of each element, of one tensor or of two that broadcast. Floats are float32; integers wrap.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

enum class Number : int32_t { f32, i32, i64, u8 };

constexpr int kMostAxes = 8;

// In the order of the names in cuda/elementwise.cc.
enum class Binary : int32_t {
  add,
  sub,
  mul,
  div,
  pow,
  min,
  max,
  mod,
  fmod,
  equal,
  greater,
  greater_or_equal,
  less,
  less_or_equal,
  logical_and,
  logical_or,
  logical_xor,
  bitwise_and,
  bitwise_or,
  bitwise_xor
};

struct ElementwiseParams {
  const void *a, *b;
  void* y;  // of Number u8 where the function compares, else as a and b
  Number number;
  Binary function;
  int64_t count;  // of y
  int32_t axes;   // of y; the operands' strides are 0 where they broadcast
  int64_t extents[kMostAxes], a_strides[kMostAxes], b_strides[kMostAxes];
};
cudaError_t launch_elementwise(const ElementwiseParams& params, cudaStream_t stream);

// In the order of the names in cuda/unary.cc.
enum class Unary : int32_t {
  identity,
  relu,
  silu,
  tanh,
  sigmoid,
  softplus,
  softsign,
  mish,
  hard_swish,
  erf,
  exp,
  log,
  sqrt,
  reciprocal,
  sin,
  cos,
  tan,
  asin,
  acos,
  atan,
  sinh,
  cosh,
  asinh,
  acosh,
  atanh,
  neg,
  abs,
  sign,
  floor,
  ceil,
  round,
  leaky_relu,
  elu,
  celu,
  selu,
  thresholded_relu,
  hard_sigmoid,
  is_nan,
  is_inf,
  bitwise_not,
  logical_not
};

struct UnaryParams {
  const void* x;
  void* y;  // of Number u8 for is_nan, is_inf and logical_not
  Number number;
  Unary function;
  float alpha, beta;           // of functions that have them
  int32_t positive, negative;  // which infinities is_inf finds
  int64_t count;
};
cudaError_t launch_unary(const UnaryParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
