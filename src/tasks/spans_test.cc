#include "tasks/spans.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace bertie::tasks {
namespace {

const std::vector<uint8_t> kCandidates = {0, 0, 0, 1, 1, 1, 1, 0};

TEST(Spans, OrderedAndWithinTheLimit) {
  const std::vector<float> start = {0, 9, 0, 1, 3, 0, 0, 9}, end = {0, 9, 0, 4, 1, 3, 0, 9};
  const WindowSpans found = best_spans(start, end, kCandidates, 100, 2);
  ASSERT_EQ(found.spans.size(), 7u);  // (3,3) (3,4) (4,4) (4,5) (5,5) (5,6) (6,6)
  EXPECT_EQ(found.spans[0].first, 4u);
  EXPECT_EQ(found.spans[0].last, 5u);
  EXPECT_EQ(found.spans[1].first, 3u);
  EXPECT_EQ(found.spans[1].last, 3u);
  // Softmax over the first token and the four candidates.
  const double starts = 1 + std::exp(1) + std::exp(3) + 1 + 1, ends = 1 + std::exp(4) + std::exp(1) + std::exp(3) + 1;
  EXPECT_NEAR(found.spans[0].score, std::exp(3) / starts * std::exp(3) / ends, 1e-12);
  EXPECT_NEAR(found.no_answer, 1 / starts / ends, 1e-12);
}

TEST(Spans, NoCandidates) {
  const std::vector<float> logits = {1, 2};
  const WindowSpans found = best_spans(logits, logits, std::vector<uint8_t>{0, 0}, 5, 15);
  EXPECT_TRUE(found.spans.empty());
  EXPECT_DOUBLE_EQ(found.no_answer, 1.0);
  EXPECT_TRUE(best_spans({}, {}, {}, 5, 15).spans.empty());
}

TEST(Spans, EqualsExhaustiveSearch) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 50; ++round) {
    const size_t size = 2 + random() % 30;
    std::vector<float> start(size), end(size);
    std::vector<uint8_t> candidate(size);
    for (size_t i = 0; i < size; ++i) {
      start[i] = normal(random);
      end[i] = normal(random);
      candidate[i] = i > 0 && random() % 3 != 0;
    }
    const size_t limit = 1 + random() % 6;
    float best = -INFINITY;
    for (size_t first = 1; first < size; ++first) {
      for (size_t last = first; last < std::min(size, first + limit); ++last) {
        if (candidate[first] && candidate[last]) best = std::max(best, start[first] + end[last]);
      }
    }
    const WindowSpans found = best_spans(start, end, candidate, 1, limit);
    if (best == -INFINITY) {
      EXPECT_TRUE(found.spans.empty());
    } else {
      ASSERT_EQ(found.spans.size(), 1u);
      EXPECT_NEAR(start[found.spans[0].first] + end[found.spans[0].last], best, 1e-5);
    }
  }
}

}  // namespace
}  // namespace bertie::tasks
