#include "quant/attention_fp8.h"

#include <gtest/gtest.h>

#include <limits>
#include <numbers>
#include <random>
#include <vector>

namespace bertie {
namespace {

// To the nearest number of four significant bits from 2^-6 up, of multiples of 2^-9 below; ties to even.
double to_e4m3(double x) {
  if (x == 0) return 0;
  const int exponent = std::max(std::ilogb(x), -6);
  return std::clamp(std::ldexp(std::nearbyint(std::ldexp(x, 3 - exponent)), exponent - 3), -448.0, 448.0);
}

struct Fp8Problem {
  std::vector<float> q, k, v, bias;
  int64_t keys, head_dim;
  double scale = 0.2;

  Fp8Problem(uint32_t seed, int64_t keys, int64_t head_dim, bool with_bias) : keys(keys), head_dim(head_dim) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<float>& x, int64_t count) {
      x.resize(static_cast<size_t>(count));
      for (float& value : x) value = normal(random);
    };
    fill(q, head_dim);
    fill(k, keys * head_dim);
    fill(v, keys * head_dim);
    if (with_bias) fill(bias, keys);
  }
  std::vector<float> attend() const {
    std::vector<float> out(q.size(), -1.0f);
    std::vector<int8_t> scratch(attend_int8_scratch(head_dim));
    attend_fp8(
        {q, static_cast<float>(scale * std::numbers::log2e), keys, k.data(), v.data(), bias.empty() ? nullptr : bias.data()},
        scratch, out.data());
    return out;
  }
};

// The definition in double, with another rounding to e4m3.
std::vector<double> defined(const Fp8Problem& p) {
  const auto width = static_cast<size_t>(p.head_dim);
  const auto integers = [](std::span<const float> x) {
    std::vector<int8_t> values(x.size());
    const double scale = quantize_int8(x, values.data());
    std::vector<double> result;
    for (const int8_t value : values) result.push_back(scale * value);
    return result;
  };
  const std::vector<double> q = integers(p.q);
  std::vector<double> result(width);
  double largest = -std::numeric_limits<double>::infinity(), total = 0;
  for (size_t begin = 0; begin < static_cast<size_t>(p.keys); begin += kAttentionInt8Keys) {
    const size_t count = std::min<size_t>(kAttentionInt8Keys, static_cast<size_t>(p.keys) - begin);
    std::vector<double> scores;
    const double before = largest;
    for (size_t j = begin; j < begin + count; ++j) {
      const std::vector<double> k = integers(std::span(p.k).subspan(j * width, width));
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
        const Fp8Problem p(static_cast<uint32_t>(keys * 1000 + head_dim), keys, head_dim, bias);
        const std::vector<float> found = p.attend();
        const std::vector<double> expected = defined(p);
        double error = 0, size = 0;
        for (size_t d = 0; d < found.size(); ++d) {
          error += std::pow(found[d] - expected[d], 2);
          size += std::pow(expected[d], 2);
        }
        EXPECT_LE(std::sqrt(error), kAttentionFp8Agreement * std::sqrt(size)) << keys << " keys of " << head_dim;
      }
}

TEST(AttentionFp8, NoKeysGiveZeros) { EXPECT_EQ(Fp8Problem(4, 0, 5, false).attend(), std::vector<float>(5, 0.0f)); }

TEST(AttentionFp8, OfZerosAndTinyValuesIsFinite) {
  for (const float scale : {0.0f, 1e-44f, 1e-36f}) {
    Fp8Problem p(6, 140, 16, false);
    for (float& value : p.v) value *= scale;
    p.v[3] = 0;  // beside an inverse that would be infinite
    for (const float value : p.attend()) EXPECT_LE(std::fabs(value), 4 * scale);
  }
}

TEST(AttentionFp8, WhatIsNotFiniteShows) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Fp8Problem value(7, 140, 16, false), key = value;
    value.v[5] = key.k[5] = bad;
    const std::vector<float> column = value.attend(), row = key.attend();
    for (size_t d = 0; d < column.size(); ++d) {
      EXPECT_EQ(std::isnan(column[d]), d == 5) << d;
      EXPECT_TRUE(std::isnan(row[d])) << d;
    }
  }
}

}  // namespace
}  // namespace bertie
