#include "quant/attention_fp8.h"

#include <gtest/gtest.h>

#include <limits>
#include <numbers>
#include <vector>

#include "quant/attention_problem_test.h"

namespace bertie {
namespace {

// To the nearest number of four significant bits from 2^-6 up, of multiples of 2^-9 below; ties to even.
double to_e4m3(double x) {
  if (x == 0) return 0;
  const int exponent = std::max(std::ilogb(x), -6);
  return std::clamp(std::ldexp(std::nearbyint(std::ldexp(x, 3 - exponent)), exponent - 3), -448.0, 448.0);
}

// The definition in double, with another rounding to e4m3.
std::vector<double> defined(const AttentionRowProblem& p) {
  const auto width = static_cast<size_t>(p.head_dim);
  const std::vector<double> q = dequantised(p.q);
  std::vector<double> result(width);
  double largest = -std::numeric_limits<double>::infinity(), total = 0;
  for (size_t begin = 0; begin < static_cast<size_t>(p.keys); begin += kAttentionInt8Keys) {
    const size_t count = std::min<size_t>(kAttentionInt8Keys, static_cast<size_t>(p.keys) - begin);
    std::vector<double> scores;
    const double before = largest;
    for (size_t j = begin; j < begin + count; ++j) {
      const std::vector<double> k = dequantised(std::span(p.k).subspan(j * width, width));
      double score = 0;
      for (size_t d = 0; d < width; ++d) score += q[d] * k[d];
      scores.push_back((score * p.scale + (p.bias.empty() ? 0 : p.bias[j])) * std::numbers::log2e);
      largest = std::max(largest, scores.back());
    }
    const double decay = std::exp2(before - largest);
    total *= decay;
    for (double& score : scores) total += score = to_e4m3(256 * std::exp2(score - largest));
    for (size_t d = 0; d < width; ++d) {
      double most = 0, sum = 0;
      for (size_t j = 0; j < count; ++j) most = std::max(most, std::fabs(double{p.v[(begin + j) * width + d]}));
      for (size_t j = 0; j < count; ++j) sum += scores[j] * to_e4m3(p.v[(begin + j) * width + d] * (448 / most)) * most / 448;
      result[d] = result[d] * decay + sum;
    }
  }
  for (double& value : result) value /= total;
  return result;
}

TEST(AttentionFp8, IsWhatItsDefinitionSays) {
  for (const int64_t keys : {1, 2, 15, 16, 17, 127, 128, 129, 300, 513})
    for (const int64_t head_dim : {1, 7, 32, 64, 100})
      for (const bool bias : {false, true}) {
        const AttentionRowProblem p(static_cast<uint32_t>(keys * 1000 + head_dim), keys, head_dim, bias);
        const std::vector<float> found = p.attend(attend_fp8);
        const std::vector<double> expected = defined(p);
        double error = 0, size = 0;
        for (size_t d = 0; d < found.size(); ++d) {
          error += std::pow(found[d] - expected[d], 2);
          size += std::pow(expected[d], 2);
        }
        EXPECT_LE(std::sqrt(error), kAttentionFp8Agreement * std::sqrt(size)) << keys << " keys of " << head_dim;
      }
}

TEST(AttentionFp8, NoKeysGiveZeros) {
  EXPECT_EQ(AttentionRowProblem(4, 0, 5, false).attend(attend_fp8), std::vector<float>(5, 0.0f));
}

TEST(AttentionFp8, OfZerosAndTinyValuesIsFinite) {
  for (const float scale : {0.0f, 1e-44f, 1e-36f}) {
    AttentionRowProblem p(6, 140, 16, false);
    for (float& value : p.v) value *= scale;
    p.v[3] = 0;  // beside an inverse that would be infinite
    for (const float value : p.attend(attend_fp8)) EXPECT_LE(std::fabs(value), 4 * scale);
  }
}

TEST(AttentionFp8, WhatIsNotFiniteShows) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    AttentionRowProblem value(7, 140, 16, false), key = value;
    value.v[5] = key.k[5] = bad;
    const std::vector<float> column = value.attend(attend_fp8), row = key.attend(attend_fp8);
    for (size_t d = 0; d < column.size(); ++d) {
      EXPECT_EQ(std::isnan(column[d]), d == 5) << d;
      EXPECT_TRUE(std::isnan(row[d])) << d;
    }
  }
}

}  // namespace
}  // namespace bertie
