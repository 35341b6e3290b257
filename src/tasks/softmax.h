// Scores from logits, summed in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace bertie::tasks {

struct SoftmaxScale {
  float largest = 0;
  double sum = 1;
  float score(float logit) const { return static_cast<float>(std::exp(logit - largest) / sum); }
};

// One pass for the scale, so that scores of a few entries need no copy of the rest. `logits` must not be empty.
inline SoftmaxScale softmax_scale(std::span<const float> logits) {
  SoftmaxScale scale;
  scale.largest = *std::max_element(logits.begin(), logits.end());
  scale.sum = 0;
  for (float logit : logits) scale.sum += std::exp(logit - scale.largest);
  return scale;
}

inline std::vector<float> softmax(std::span<const float> logits) {
  const SoftmaxScale scale = softmax_scale(logits);
  std::vector<float> scores;
  scores.reserve(logits.size());
  for (float logit : logits) scores.push_back(scale.score(logit));
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
