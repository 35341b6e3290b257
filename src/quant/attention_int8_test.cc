#include "quant/attention_int8.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "quant/attention_problem_test.h"

namespace bertie {
namespace {

TEST(AttentionInt8, WeightsAreNearPowersOfTwo) {
  for (double x = -20; x <= 0; x += 1.0 / 1024) {
    const double weight = attention_weight(static_cast<float>(x));
    EXPECT_EQ(weight, std::round(weight));
    EXPECT_NEAR(weight, 255 * std::exp2(x), kAttentionWeightError) << x;
    if (x >= -12) {
      EXPECT_NEAR(attention_decay(static_cast<float>(x)), std::exp2(x), 1.1e-4 * std::exp2(x)) << x;
    }
  }
  EXPECT_EQ(attention_weight(0), 255);
  EXPECT_EQ(attention_weight(0.01f), 255);  // what a rounded maximum leaves above 0
  EXPECT_EQ(attention_decay(0), 1);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(attention_weight(-kInfinity), 0);
  EXPECT_LE(attention_decay(-kInfinity), 0x1p-125f);
  EXPECT_EQ(attention_weight(std::numeric_limits<float>::quiet_NaN()), 0);
}

// The same integers, all else in double, without blocks but for the columns' scales; and how far a result may be from it.
void expect_near_exact(const AttentionRowProblem& p) {
  const auto width = static_cast<size_t>(p.head_dim);
  const std::vector<double> q = dequantised(p.q);
  std::vector<double> scores;
  double largest = -std::numeric_limits<double>::infinity();
  for (size_t j = 0; j < static_cast<size_t>(p.keys); ++j) {
    const std::vector<double> k = dequantised(std::span(p.k).subspan(j * width, width));
    double score = 0;
    for (size_t d = 0; d < width; ++d) score += q[d] * k[d];
    scores.push_back(score * p.scale + (p.bias.empty() ? 0 : p.bias[j]));
    largest = std::max(largest, scores.back());
  }
  double total = 0;
  for (double& score : scores) total += score = std::exp(score - largest);
  const std::vector<float> found = p.attend(attend_int8);
  for (size_t d = 0; d < width; ++d) {
    double sum = 0, size = 0;
    for (size_t begin = 0; begin < scores.size(); begin += kAttentionInt8Keys) {
      const size_t count = std::min<size_t>(kAttentionInt8Keys, scores.size() - begin);
      std::vector<float> column(count);
      for (size_t j = 0; j < count; ++j) column[j] = p.v[(begin + j) * width + d];
      const std::vector<double> values = dequantised(column);
      for (size_t j = 0; j < count; ++j) {
        sum += scores[begin + j] * values[j];
        size = std::max(size, std::fabs(values[j]));
      }
    }
    // Each weight is off by kAttentionWeightError / 255 of the largest weight, which is 1, in the sum and in the total.
    const double bound = 2 * size * static_cast<double>(p.keys) * (kAttentionWeightError / 255 + 2e-4) / total;
    ASSERT_NEAR(found[d], sum / total, bound) << p.keys << " keys of " << p.head_dim << ", column " << d;
  }
}

TEST(AttentionInt8, ResultsAreNearExactArithmetic) {
  for (int64_t keys : {1, 2, 15, 16, 17, 127, 128, 129, 300, 513})
    for (int64_t head_dim : {1, 7, 32, 64, 100})
      for (bool bias : {false, true}) expect_near_exact({static_cast<uint32_t>(keys * 1000 + head_dim), keys, head_dim, bias});
  expect_near_exact({1, 200, 64, false, 4.0f});  // a few keys take all
}

TEST(AttentionInt8, OneKeyGivesItsOwnValues) {
  const AttentionRowProblem p(3, 1, 16, false);
  const std::vector<float> found = p.attend(attend_int8);
  for (size_t d = 0; d < found.size(); ++d) EXPECT_NEAR(found[d], p.v[d], 1e-6f * std::fabs(p.v[d]));
}

TEST(AttentionInt8, NoKeysGiveZeros) {
  EXPECT_EQ(AttentionRowProblem(4, 0, 5, false).attend(attend_int8), std::vector<float>(5, 0.0f));
}

TEST(AttentionInt8, ALaterBlockWithLargerScoresOutweighsTheFirst) {
  AttentionRowProblem p(5, 200, 8, true);
  for (size_t j = 128; j < 200; ++j) p.bias[j] += 200;
  std::vector<float> found = p.attend(attend_int8);
  AttentionRowProblem later = p;
  later.k.erase(later.k.begin(), later.k.begin() + 128 * 8);
  later.v.erase(later.v.begin(), later.v.begin() + 128 * 8);
  later.bias.erase(later.bias.begin(), later.bias.begin() + 128);
  later.keys = 72;
  const std::vector<float> alone = later.attend(attend_int8);
  for (size_t d = 0; d < 8; ++d) EXPECT_NEAR(found[d], alone[d], 1e-5f);
}

}  // namespace
}  // namespace bertie
