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

// `rows` rows of `panels` panels, from sums whose rows are `stride` apart.
template <typename Function>
BERTIE_INLINE void finish_tile(const Int8GemmProblem& problem, int64_t row, int64_t rows, int64_t panel, int64_t panels,
                               const int32_t* sums, int64_t stride, Function activation) {
  // Copies, for what is written might be `problem` for all that the compiler knows.
  const int64_t column = panel * kGemmPanel, columns = min(problem.weight.n - column, panels * kGemmPanel);
  const int64_t a_scale_stride = problem.a_scale_stride, c_stride = problem.c_stride, residual_stride = problem.residual_stride;
  const float *a_scale = problem.a_scales + row * a_scale_stride, *w_scales = problem.w_scales + column;
  const float *bias = problem.bias ? problem.bias + column : nullptr, *residual = nullptr;
  if (problem.residual) residual = problem.residual + row * residual_stride + column;
  float* c = problem.c + row * c_stride + column;
  for (; rows > 0; --rows, sums += stride, a_scale += a_scale_stride, c += c_stride) {
    const Vec16 x_scale = broadcast(*a_scale);
    const auto value = [&](int64_t i) __attribute__((always_inline)) {
      const Vec16 scale = x_scale * load(w_scales + i), sum = to_float(load_int(sums + i));
      return activation(bias ? fused(sum, scale, load(bias + i)) : sum * scale);
    };
    int64_t i = 0;
    for (; i + kGemmPanel <= columns; i += kGemmPanel) {
      const Vec16 result = value(i);
      store(c + i, residual ? result + load(residual + i) : result);
    }
    if (i < columns) {
      const Vec16 result = value(i);
      store_partial(c + i, residual ? result + load_partial(residual + i, columns - i) : result, columns - i);
    }
    if (residual) residual += residual_stride;
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
