// One row of q over random keys, and what the tests of attention in eight bits make of its numbers.
#pragma once

#include <cmath>
#include <numbers>
#include <random>
#include <span>
#include <vector>

#include "quant/attention_int8.h"

namespace bertie {

struct AttentionRowProblem {
  std::vector<float> q, k, v, bias;
  int64_t keys, head_dim;
  double scale;

  AttentionRowProblem(uint32_t seed, int64_t keys, int64_t head_dim, bool with_bias, float spread = 1)
      : keys(keys), head_dim(head_dim), scale(1 / std::sqrt(static_cast<double>(head_dim))) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, spread);
    const auto fill = [&](std::vector<float>& x, int64_t count) {
      x.resize(static_cast<size_t>(count));
      for (float& value : x) value = normal(random);
    };
    fill(q, head_dim);
    fill(k, keys * head_dim);
    fill(v, keys * head_dim);
    if (with_bias) fill(bias, keys);
  }
  // `attend_row`: attend_int8 or attend_fp8.
  std::vector<float> attend(void (*attend_row)(const AttentionRow&, std::span<int8_t>, float*)) const {
    std::vector<float> out(q.size(), -1.0f);
    std::vector<int8_t> scratch(attend_int8_scratch(head_dim));
    attend_row(
        {q, static_cast<float>(scale * std::numbers::log2e), keys, k.data(), v.data(), bias.empty() ? nullptr : bias.data()},
        scratch, out.data());
    return out;
  }
};

// A row's integers times their scale.
inline std::vector<double> dequantised(std::span<const float> x) {
  std::vector<int8_t> values(x.size());
  const double scale = quantize_int8(x, values.data());
  std::vector<double> result;
  for (const int8_t value : values) result.push_back(scale * value);
  return result;
}

}  // namespace bertie
