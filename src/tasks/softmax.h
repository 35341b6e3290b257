// Scores from logits, summed in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace bertie::tasks {

// `logits` must not be empty.
inline std::vector<float> softmax(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  std::vector<float> scores;
  scores.reserve(logits.size());
  for (const float logit : logits) scores.push_back(static_cast<float>(std::exp(logit - largest) / sum));
  return scores;
}

inline float sigmoid(float logit) { return static_cast<float>(1.0 / (1.0 + std::exp(-static_cast<double>(logit)))); }

// Indices of the `count` largest, best first; the lower index first among equals. NaN ranks last.
inline std::vector<int32_t> largest(std::span<const float> values, size_t count) {
  const auto better = [&](int32_t a, int32_t b) {
    const float x = values[static_cast<size_t>(a)], y = values[static_cast<size_t>(b)];
    if (x != y && !std::isnan(x) && !std::isnan(y)) return x > y;
    if (std::isnan(x) != std::isnan(y)) return std::isnan(y);
    return a < b;
  };
  std::vector<int32_t> order(values.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  count = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), better);
  order.resize(count);
  return order;
}

}  // namespace bertie::tasks
