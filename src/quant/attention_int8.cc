#include "quant/attention_int8.h"

#include <limits>
#include <numbers>

namespace bertie {
namespace {

float not_finite_as_nan(float x) { return x + 0 * x; }

}  // namespace

void attend_int8(const AttentionInt8Row& row, std::span<int8_t> scratch, float* out) {
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
    float products[kAttentionInt8Keys], weights[kAttentionInt8Keys];
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
    int32_t sum_of_weights = 0;
    for (int64_t j = 0; j < count; ++j) {
      weights[j] = attention_weight(row.bias ? products[j] - largest : std::fma(products[j], q_factor, -largest));
      sum_of_weights += static_cast<int32_t>(weights[j]);
    }
    const float decay = attention_decay(before - largest);
    total = first ? static_cast<float>(sum_of_weights) : std::fma(total, decay, static_cast<float>(sum_of_weights));
    for (int64_t d = 0; d < head_dim; ++d) {
      const float* column = row.v + begin * head_dim + d;
      uint32_t bits = 0;
      for (int64_t j = 0; j < count; ++j) bits = std::max(bits, std::bit_cast<uint32_t>(std::fabs(column[j * head_dim])));
      const float largest_value = std::bit_cast<float>(bits);
      int32_t sum = 0;
      for (int64_t j = 0; j < count; ++j) sum += static_cast<int32_t>(weights[j]) * to_int8(column[j * head_dim], largest_value);
      const float scale = not_finite_as_nan(largest_value / kInt8Largest);
      out[d] = first ? static_cast<float>(sum) * scale : std::fma(static_cast<float>(sum), scale, out[d] * decay);
    }
  }
  if (row.keys == 0) return;
  for (size_t d = 0; d < width; ++d) out[d] = out[d] * (1 / total) + poison;
}

}  // namespace bertie
