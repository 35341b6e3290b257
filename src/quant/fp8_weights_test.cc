#include "quant/fp8_weights.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

namespace bertie {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

float rounded(float x) { return rounded_to_fp8(FourFloats{0, x, 0, 0})[1]; }

// Magnitudes of the format, ascending, in exact arithmetic.
std::vector<double> magnitudes() {
  std::vector<double> list;
  for (int code = 0; code < 0x7f; ++code) {
    const int exponent = code >> 3, mantissa = code & 7;
    list.push_back(exponent == 0 ? mantissa * 0x1p-9 : (8 + mantissa) * std::ldexp(1.0, exponent - 10));
  }
  return list;
}

// The least error that any numbers of the format have at this scale, in double.
double least_error(const std::vector<float>& x, const std::vector<float>& importance, double scale) {
  static const std::vector<double> kMagnitudes = magnitudes();
  double error = 0;
  for (size_t k = 0; k < x.size(); ++k) {
    const double exact = std::abs(x[k] / scale);
    const auto above = std::lower_bound(kMagnitudes.begin(), kMagnitudes.end(), exact);
    double off = above == kMagnitudes.end() ? exact - kMagnitudes.back() : *above - exact;
    if (above != kMagnitudes.begin()) off = std::min(off, exact - above[-1]);
    error += off * scale * off * scale * importance[k];
  }
  return error;
}

double error_of(const std::vector<float>& x, const std::vector<float>& importance, const std::vector<uint8_t>& values,
                double scale) {
  double error = 0;
  for (size_t k = 0; k < x.size(); ++k) error += std::pow(fp8_to_float(values[k]) * scale - x[k], 2) * importance[k];
  return error;
}

float candidate(float largest, int c) { return largest / 448.0f * (1.0f + static_cast<float>(c) / 16.0f); }

TEST(Fp8Weights, RoundsAsCodesDo) {
  const std::vector<double> list = magnitudes();
  std::vector<float> numbers = {0.0f, 1e-40f, 448.00003f, 460.0f};
  for (size_t i = 0; i + 1 < list.size(); ++i) {
    const auto tie = static_cast<float>((list[i] + list[i + 1]) / 2);
    for (const float x : {static_cast<float>(list[i]), tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e9f)})
      numbers.push_back(x);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 10000; ++i)
    numbers.push_back(std::bit_cast<float>(static_cast<uint32_t>(random()) % 0x43e00000u));  // below 448
  for (const float x : numbers) {
    EXPECT_EQ(rounded(x), fp8_to_float(float_to_fp8(x))) << x;
    EXPECT_EQ(rounded(-x), fp8_to_float(float_to_fp8(-x))) << x;
  }
}

// Against every candidate by brute force in double, each number the nearest there is.
TEST(Fp8Weights, TheScaleIsThatOfTheLeastError) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  double chosen_errors = 0, first_errors = 0;
  std::set<int> chosen;
  int minds_columns = 0;
  for (const size_t size : {1, 2, 15, 16, 17, 31, 48, 100, 768, 3072}) {
    for (int row = 0; row < (size > 100 ? 8 : 40); ++row) {
      std::vector<float> x(size), importance(size);
      for (float& value : x) value = normal(random) * 0.04f;
      for (float& value : importance) value = std::exp(2 * normal(random));
      std::vector<uint8_t> values(size);
      const float scale = quantize_fp8_weights(x, importance, values.data());
      const float largest = largest_magnitude(x);
      int found = -1, best = 0;
      std::vector<double> errors;
      for (int c = 0; c < 16; ++c) {
        if (scale == candidate(largest, c)) found = c;
        errors.push_back(least_error(x, importance, candidate(largest, c)));
        if (errors.back() < errors[static_cast<size_t>(best)]) best = c;
      }
      ASSERT_GE(found, 0) << size << ": no candidate";
      chosen.insert(found);
      // Errors that sums in float32 do not tell apart.
      const auto alike = [&](double error) { return error * (1 + 1e-4) + 1e-12 * largest * largest; };
      EXPECT_LE(errors[static_cast<size_t>(found)], alike(errors[static_cast<size_t>(best)]))
          << size << ": " << best << " is better";
      EXPECT_LE(errors[static_cast<size_t>(found)], alike(errors[0]));
      EXPECT_LE(error_of(x, importance, values, scale), alike(errors[static_cast<size_t>(found)])) << "values of another scale";
      if (size < 48) continue;
      chosen_errors += errors[static_cast<size_t>(found)] / errors[0];
      first_errors += 1;
      minds_columns += quantize_fp8_weights(x, std::vector<float>(size, 1.0f), values.data()) != scale;
    }
  }
  EXPECT_LT(chosen_errors, 0.9 * first_errors);
  EXPECT_GT(chosen.size(), 10u);
  EXPECT_GT(minds_columns, 10);
}

TEST(Fp8Weights, OfEqualErrorsTheFirstIsTaken) {
  std::vector<uint8_t> values(20);
  std::vector<float> exact = {448, -416, 0.875f, 0, 0x1p-9f};
  exact.resize(20, 1.0f);
  const std::vector<float> alike(20, 1.0f), none(20, 0.0f);
  EXPECT_EQ(quantize_fp8_weights(exact, alike, values.data()), 1.0f);
  EXPECT_EQ(values[0], 0x7e);
  exact[3] = 300.1f;
  EXPECT_NE(quantize_fp8_weights(exact, alike, values.data()), 1.0f);
  EXPECT_EQ(quantize_fp8_weights(exact, none, values.data()), 1.0f);  // nothing minds
  EXPECT_EQ(quantize_fp8_weights({}, {}, values.data()), 0.0f);
}

// Powers of two change nothing but the scale, and the unit of the importance nothing at all.
TEST(Fp8Weights, MagnitudesDoNotMatter) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(100), importance(100);
  for (float& value : x) value = normal(random);
  for (float& value : importance) value = normal(random) * normal(random), value = value * value;
  std::vector<uint8_t> values(100), others(100);
  const float scale = quantize_fp8_weights(x, importance, values.data());
  for (float& value : importance) value *= 0x1p-20f;
  for (const float unit : {0x1p-90f, 0x1p-20f, 0x1p90f}) {
    std::vector<float> moved = x;
    for (float& value : moved) value *= unit;
    EXPECT_EQ(quantize_fp8_weights(moved, importance, others.data()), scale * unit);
    EXPECT_EQ(others, values);
  }
}

TEST(Fp8Weights, OddRowsAreAsThoseOfActivations) {
  const std::vector<float> importance = {1, 0.5f, 0.25f};
  for (const std::vector<float>& x : std::vector<std::vector<float>>{{0, -0.0f, 0},
                                                                     {1, kNan, 2},
                                                                     {1, -kInfinity, 2},
                                                                     {1e-39f, 3e-41f, 0},
                                                                     {0x1p-110f, 0x1.23p-112f, 0},
                                                                     {1e35f, 1.37e34f, 3}}) {
    std::vector<uint8_t> values(3), expected(3);
    const float scale = quantize_fp8_weights(x, importance, values.data()), plain = quantize_fp8(x, expected.data());
    EXPECT_EQ(std::bit_cast<uint32_t>(scale), std::bit_cast<uint32_t>(plain)) << x[0];
    EXPECT_EQ(values, expected) << x[0];
  }
}

}  // namespace
}  // namespace bertie
