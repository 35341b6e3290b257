// What attention_int8.h and attention_fp8.h have in common: blocks of keys, the running largest score, scores of integers. `Format` says what
// weights and values become.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "quant/attention_int8.h"

namespace bertie {

// Format: Sum; weight(score - largest); decay(largest before - largest); value(x, largest magnitude of its column); scale(that magnitude). A
// score without a bias is not rounded before the largest is taken from it.
template <typename Format>
void attend_eight_bits(const AttentionRow& row, std::span<int8_t> scratch, float* out) {
  using Sum = typename Format::Sum;
  const size_t width = row.q.size();
  const auto head_dim = static_cast<int64_t>(width);
  int8_t *const q = scratch.data(), *const k = q + width;
  const float q_factor = quantize_int8(row.q, q) * row.factor;
  float poison = 0 * q_factor;  // NaN where a row is not finite
  std::fill(out, out + width, 0.0f);
  float largest = -std::numeric_limits<float>::infinity(), total = 0;
  for (int64_t begin = 0; begin < row.keys; begin += kAttentionInt8Keys) {
    const int64_t count = std::min(kAttentionInt8Keys, row.keys - begin);
    const bool first = begin == 0;
    float products[kAttentionInt8Keys];
    Sum weights[kAttentionInt8Keys];
    const float before = largest;
    for (int64_t j = 0; j < count; ++j) {
      const float k_scale = quantize_int8({row.k + (begin + j) * head_dim, width}, k);
      poison += 0 * k_scale;
      int32_t sum = 0;
      for (size_t d = 0; d < width; ++d) sum += q[d] * k[d];
      products[j] = static_cast<float>(sum) * k_scale;
      if (row.bias) products[j] = std::fma(products[j], q_factor, row.bias[begin + j] * std::numbers::log2e_v<float>);
      largest = std::max(largest, row.bias ? products[j] : products[j] * q_factor);
    }
    Sum sum_of_weights = 0;
    for (int64_t j = 0; j < count; ++j) {
      weights[j] = Format::weight(row.bias ? products[j] - largest : std::fma(products[j], q_factor, -largest));
      sum_of_weights += weights[j];
    }
    const float decay = Format::decay(before - largest);
    total = first ? static_cast<float>(sum_of_weights) : std::fma(total, decay, static_cast<float>(sum_of_weights));
    for (int64_t d = 0; d < head_dim; ++d) {
      const float* column = row.v + begin * head_dim + d;
      uint32_t bits = 0;
      for (int64_t j = 0; j < count; ++j) bits = std::max(bits, std::bit_cast<uint32_t>(std::fabs(column[j * head_dim])));
      const float largest_value = std::bit_cast<float>(bits);
      Sum sum = 0;
      for (int64_t j = 0; j < count; ++j) sum += weights[j] * Format::value(column[j * head_dim], largest_value);
      const float not_finite_as_nan = 0 * largest_value, scale = Format::scale(largest_value) + not_finite_as_nan;
      out[d] = first ? static_cast<float>(sum) * scale : std::fma(static_cast<float>(sum), scale, out[d] * decay);
    }
  }
  if (row.keys == 0) return;
  for (size_t d = 0; d < width; ++d) out[d] = out[d] * (1 / total) + poison;
}

}  // namespace bertie
