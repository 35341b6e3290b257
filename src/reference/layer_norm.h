// LayerNorm of one row, shared by the ops that end in one.
#pragma once

#include <cmath>

#include "reference/kernel.h"

namespace bertie::reference {

// out[i] = (value(i) - mean) / sqrt(variance + epsilon) * gamma[i] + beta[i] for i in [0, gamma's extent).
template <typename ValueAt>
void layer_norm_row(const TensorView& gamma, const TensorView& beta, double epsilon, float* out, ValueAt value) {
  const int64_t extent = gamma.shape[0];
  double sum = 0;
  for (int64_t i = 0; i < extent; ++i) sum += value(i);
  const double mean = sum / static_cast<double>(extent);
  double squares = 0;
  for (int64_t i = 0; i < extent; ++i) squares += (value(i) - mean) * (value(i) - mean);
  const double scale = 1 / std::sqrt(squares / static_cast<double>(extent) + epsilon);
  for (int64_t i = 0; i < extent; ++i) {
    out[i] = static_cast<float>((value(i) - mean) * scale * number(gamma, i) + number(beta, i));
  }
}

}  // namespace bertie::reference
