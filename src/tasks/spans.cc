#include "tasks/spans.h"

#include <algorithm>
#include <cmath>

namespace bertie::tasks {
namespace {

std::vector<double> probabilities(std::span<const float> logits, std::span<const uint8_t> candidate) {
  const auto counts = [&](size_t i) { return i == 0 || candidate[i] != 0; };
  double largest = -INFINITY, sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (counts(i)) largest = std::max<double>(largest, logits[i]);
  }
  std::vector<double> result(logits.size(), 0.0);
  for (size_t i = 0; i < logits.size(); ++i) {
    if (counts(i)) sum += result[i] = std::exp(logits[i] - largest);
  }
  for (double& value : result) value /= sum;
  return result;
}

}  // namespace

WindowSpans best_spans(std::span<const float> start_logits, std::span<const float> end_logits, std::span<const uint8_t> candidate,
                       size_t count, size_t max_tokens) {
  WindowSpans result;
  if (start_logits.empty()) return result;
  const std::vector<double> starts = probabilities(start_logits, candidate), ends = probabilities(end_logits, candidate);
  result.no_answer = starts[0] * ends[0];
  std::vector<TokenSpan>& spans = result.spans;
  for (size_t first = 1; first < starts.size(); ++first) {
    if (candidate[first] == 0) continue;
    const size_t stop = std::min(starts.size(), first + max_tokens);
    for (size_t last = first; last < stop; ++last) {
      if (candidate[last] != 0) spans.push_back({first, last, starts[first] * ends[last]});
    }
  }
  count = std::min(count, spans.size());
  std::partial_sort(spans.begin(), spans.begin() + static_cast<std::ptrdiff_t>(count), spans.end(),
                    [](const TokenSpan& a, const TokenSpan& b) {
                      if (a.score != b.score) return a.score > b.score;
                      return a.first != b.first ? a.first < b.first : a.last < b.last;
                    });
  spans.resize(count);
  return result;
}

}  // namespace bertie::tasks
