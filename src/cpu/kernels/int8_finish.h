// From exact sums to C: scales, bias, activation, residual.
#pragma once

#include "cpu/kernels/activation.h"
#include "cpu/kernels/int8_gemm.h"
#include "cpu/kernels/store_integers.h"

namespace bertie::cpu::BERTIE_ISA {

// `rows` rows of `panels` panels, from sums whose rows are `stride` apart.
template <typename Function>
BERTIE_INLINE void finish_tile(const Int8GemmProblem& problem, int64_t row, int64_t rows, int64_t panel, int64_t panels,
                               const int32_t* sums, int64_t stride, Function activation) {
  // Copies, for what is written might be `problem` for all that the compiler knows.
  const int64_t column = panel * kGemmPanel, columns = min(problem.weight.n - column, panels * kGemmPanel);
  const int64_t a_scale_stride = problem.a_scale_stride, c_stride = problem.c_stride, residual_stride = problem.residual_stride;
  const float *a_scale = problem.a_scales + row * a_scale_stride, *w_scales = problem.w_scales + column;
  float* const c = problem.c;
  int8_t* const values = problem.values;
  const float *inverse = values ? problem.inverse + column : nullptr, *offset = values ? problem.offset + column : nullptr;
  const float *bias = problem.bias ? problem.bias + column : nullptr, *residual = nullptr;
  if (problem.residual) residual = problem.residual + row * residual_stride + column;
  alignas(64) float floats[kGemmMaxPanels * kGemmPanel];  // of a row that is wanted as integers
  for (; rows > 0; --rows, ++row, sums += stride, a_scale += a_scale_stride) {
    const Vec16 x_scale = broadcast(*a_scale);
    const auto value = [&](int64_t i) __attribute__((always_inline)) {
      const Vec16 scale = x_scale * load(w_scales + i), sum = to_float(load_int(sums + i));
      return activation(bias ? fused(sum, scale, load(bias + i)) : sum * scale);
    };
    float* const to = values ? floats : c + row * c_stride + column;
    int64_t i = 0;
    for (; i + kGemmPanel <= columns; i += kGemmPanel) {
      const Vec16 result = value(i);
      store(to + i, residual ? result + load(residual + i) : result);
    }
    if (i < columns) {
      const Vec16 result = value(i);
      store_partial(to + i, residual ? result + load_partial(residual + i, columns - i) : result, columns - i);
    }
    if (values) store_integers(floats, columns, inverse, offset, values + row * c_stride + column);
    if (residual) residual += residual_stride;
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
