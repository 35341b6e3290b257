// From exact sums to C: scales, bias, activation, residual.
#pragma once

#include "cpu/kernels/activation.h"
#include "cpu/kernels/int8_gemm.h"

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
  for (; rows > 0; --rows, ++row, sums += stride, a_scale += a_scale_stride) {
    const Vec16 x_scale = broadcast(*a_scale);
    const auto value = [&](int64_t i) __attribute__((always_inline)) {
      const Vec16 scale = x_scale * load(w_scales + i), sum = to_float(load_int(sums + i));
      return activation(bias ? fused(sum, scale, load(bias + i)) : sum * scale);
    };
    const auto result = [&](int64_t i, int64_t count) __attribute__((always_inline)) {
      return residual ? value(i) + load_up_to_16(residual + i, count) : value(i);
    };
    int64_t i = 0;
    if (values) {
      const auto integers = [&](int64_t i, int64_t count) __attribute__((always_inline)) {
        return round_to_int(held(fused(result(i, count), load(inverse + i), load(offset + i))));
      };
      int8_t* to = values + row * c_stride + column;
      for (; i + kGemmPanel <= columns; i += kGemmPanel) store_i8(to + i, integers(i, kGemmPanel));
      if (i < columns) {
        int8_t rest[kGemmPanel];
        store_i8(rest, integers(i, columns - i));
        __builtin_memcpy(to + i, rest, static_cast<size_t>(columns - i));
      }
    } else {
      float* to = c + row * c_stride + column;
      for (; i + kGemmPanel <= columns; i += kGemmPanel) store(to + i, result(i, kGemmPanel));
      if (i < columns) store_partial(to + i, result(i, columns - i), columns - i);
    }
    if (residual) residual += residual_stride;
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
