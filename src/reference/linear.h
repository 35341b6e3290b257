// A row of a linear layer's products, shared by the ops that make them.
#pragma once

#include "reference/kernel.h"

namespace bertie::reference {

// The number that a product of this precision takes for `value`.
template <bool in_bf16, typename T>
double factor(T value) {
  const auto wide = widen(value);
  return in_bf16 ? bf16_to_float(float_to_bf16(static_cast<float>(wide))) : static_cast<double>(wide);
}

// Eight partial sums, so that the compiler may use vectors: lane i has the products k = i (mod 8).
template <bool in_bf16, typename X, typename W>
double dot(const X* x, const W* w, int64_t count) {
  constexpr int64_t kLanes = 8;
  double sums[kLanes] = {};
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += factor<in_bf16>(x[k + lane]) * factor<in_bf16>(w[k + lane]);
  }
  for (; k < count; ++k) sums[k % kLanes] += factor<in_bf16>(x[k]) * factor<in_bf16>(w[k]);
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

// result(n, sum) for each column: row `row` of x [., K] by weight [N, K], + bias where there is one.
template <bool in_bf16, typename Result>
void linear_row(const TensorView& x, const TensorView& weight, const TensorView& bias, int64_t row, Result result) {
  const int64_t columns = weight.shape[0], depth = weight.shape[1];
  with_floats(x, [&](auto* xs) {
    with_floats(weight, [&](auto* ws) {
      for (int64_t n = 0; n < columns; ++n)
        result(n, dot<in_bf16>(xs + row * depth, ws + n * depth, depth) + (bias.data ? number(bias, n) : 0));
    });
  });
}

}  // namespace bertie::reference
