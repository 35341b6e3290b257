// Functions behind linear layers, in float32.
#pragma once

#include "cuda/kernels/activation.h"
#include "cuda/kernels/gelu.cuh"

namespace bertie::cuda {

// Y: what the result is kept as.
template <typename Y>
__device__ inline float apply(Activation function, float x) {
  constexpr float kSqrtHalf = 0.70710678118654752f, kSqrt2OverPi = 0.79788456080286536f;
  switch (function) {
    case Activation::gelu: return sizeof(Y) == 2 ? gelu_in_16_bits(x) : 0.5f * x * (1.0f + erff(x * kSqrtHalf));
    case Activation::gelu_tanh: return 0.5f * x * (1.0f + tanhf(kSqrt2OverPi * (x + 0.044715f * x * x * x)));
    case Activation::relu: return x < 0.0f ? 0.0f : x;  // NaN stays
    case Activation::silu: return x / (1.0f + __expf(-x));
    case Activation::tanh: return tanhf(x);
    default: return x;
  }
}

}  // namespace bertie::cuda
