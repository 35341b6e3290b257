// A linear layer's activation, as a function of vectors.
#pragma once

#include "cpu/kernels/gemm.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {

// Calls body(function) with the activation as a function of vectors.
template <typename Body>
BERTIE_INLINE void with_activation(Activation activation, Body body) {
  switch (activation) {
    case Activation::none: return body([](Vec16 x) __attribute__((always_inline)) { return x; });
    case Activation::gelu: return body([](Vec16 x) __attribute__((always_inline)) { return gelu_erf(x); });
    case Activation::gelu_tanh: return body([](Vec16 x) __attribute__((always_inline)) { return gelu_tanh(x); });
    case Activation::relu: return body([](Vec16 x) __attribute__((always_inline)) { return relu(x); });
    case Activation::silu: return body([](Vec16 x) __attribute__((always_inline)) { return silu(x); });
    case Activation::tanh: return body([](Vec16 x) __attribute__((always_inline)) { return tanh(x); });
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
