// From exact sums to C: scales, bias, activation, residual.
#pragma once

#include "cpu/kernels/int8_gemm.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {

// a * b + c rounded once, on every instruction set.
BERTIE_INLINE Vec16 fused(Vec16 a, Vec16 b, Vec16 c) {
#if defined(__FMA__)
  return fma(a, b, c);
#else
  float x[16], y[16], z[16];
  store(x, a);
  store(y, b);
  store(z, c);
  for (int i = 0; i < 16; ++i) z[i] = __builtin_fmaf(x[i], y[i], z[i]);
  return load(z);
#endif
}

// `rows` rows of one panel, from sums `stride` apart.
template <typename Function>
BERTIE_INLINE void finish_panel(const Int8GemmProblem& problem, int64_t row, int64_t rows, int64_t panel, const int32_t* sums,
                                int64_t stride, Function activation) {
  const int64_t column = panel * kGemmPanel, columns = problem.weight.n - column;
  const Vec16 w_scale = load(problem.w_scales + column), bias = problem.bias ? load(problem.bias + column) : zero();
  const float *a_scale = problem.a_scales + row * problem.a_scale_stride, *residual = nullptr;
  float* c = problem.c + row * problem.c_stride + column;
  if (problem.residual) residual = problem.residual + row * problem.residual_stride + column;
  const auto value = [&]() __attribute__((always_inline)) {
    const Vec16 scale = broadcast(*a_scale) * w_scale, sum = to_float(load_int(sums));
    return activation(problem.bias ? fused(sum, scale, bias) : sum * scale);
  };
  const auto step = [&]() __attribute__((always_inline)) {
    sums += stride;
    a_scale += problem.a_scale_stride;
    c += problem.c_stride;
    if (residual) residual += problem.residual_stride;
  };
  if (columns < kGemmPanel) {
    for (; rows > 0; --rows, step()) {
      const Vec16 result = value();
      store_partial(c, residual ? result + load_partial(residual, columns) : result, columns);
    }
  } else if (residual) {
    for (; rows > 0; --rows, step()) store(c, value() + load(residual));
  } else {
    for (; rows > 0; --rows, step()) store(c, value());
  }
}

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
