#include "quant/fp8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace bertie {
namespace {

// By the format's definition, in exact arithmetic.
double value_of(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const double magnitude = exponent == 0 ? mantissa * 0x1p-9 : (8 + mantissa) * std::ldexp(1.0, exponent - 10);
  return code & 0x80 ? -magnitude : magnitude;
}

bool is_nan_code(int code) { return (code & 0x7f) == 0x7f; }

TEST(Fp8, DecodesEveryCode) {
  for (int code = 0; code < 256; ++code) {
    const float value = fp8_to_float(static_cast<uint8_t>(code));
    if (is_nan_code(code)) {
      EXPECT_TRUE(std::isnan(value)) << code;
      continue;
    }
    EXPECT_EQ(value, value_of(code)) << code;
    EXPECT_EQ(std::signbit(value), code >= 0x80) << code;
    EXPECT_EQ(float_to_fp8(value), code);
  }
  EXPECT_EQ(fp8_to_float(0x7e), kFp8Largest);
}

// Halfway points between neighbours, what lies just beside them, and points between: the nearer code, at ties the even one.
TEST(Fp8, RoundsToTheNearestTiesToEven) {
  for (int code = 0; code < 0x7e; ++code) {
    const double low = value_of(code), high = value_of(code + 1), middle = (low + high) / 2;
    const auto tie = static_cast<float>(middle);
    ASSERT_EQ(tie, middle);
    const int even = code % 2 == 0 ? code : code + 1;
    EXPECT_EQ(float_to_fp8(tie), even) << code;
    EXPECT_EQ(float_to_fp8(-tie), even | 0x80) << code;
    EXPECT_EQ(float_to_fp8(std::nextafter(tie, 0.0f)), code) << code;
    EXPECT_EQ(float_to_fp8(std::nextafter(tie, 1e9f)), code + 1) << code;
    for (const double share : {0.01, 0.3, 0.49, 0.51, 0.9}) {
      const auto x = static_cast<float>(low + share * (high - low));
      EXPECT_EQ(float_to_fp8(x), share < 0.5 ? code : code + 1) << code << " + " << share;
    }
  }
}

TEST(Fp8, SaturatesAndKeepsNan) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  for (const float x : {448.0f, 449.0f, 463.9f, 464.0f, 1e30f, kInfinity}) {
    EXPECT_EQ(float_to_fp8(x), 0x7e) << x;
    EXPECT_EQ(float_to_fp8(-x), 0xfe) << x;
  }
  EXPECT_EQ(float_to_fp8(kNan) & 0x7f, 0x7f);
  EXPECT_EQ(float_to_fp8(1e-40f), 0);
  EXPECT_EQ(float_to_fp8(-0.0f), 0x80);
}

TEST(Fp8, FixedScalesRoundOnce) {
  EXPECT_EQ(to_fp8_fixed(3, 2, 1), float_to_fp8(7));
  EXPECT_EQ(to_fp8_fixed(1e9f, 1, 0), 0x7e);
  EXPECT_EQ(to_fp8_fixed(std::numeric_limits<float>::quiet_NaN(), 1, 0) & 0x7f, 0x7f);
  // Were x * inverse rounded by itself, the sum would be a tie, which goes to 0.5: exactly it is just above.
  const float x = 1 + 0x1p-12f;
  EXPECT_EQ(to_fp8_fixed(x, x, 0.53125f - 1 - 0x1p-11f), float_to_fp8(0.5625f));
}

TEST(Fp8, RowsReachTheLargestNumber) {
  const std::vector<float> x = {0.5f, -3, 1, 1e-6f};
  std::vector<uint8_t> values(x.size());
  const float scale = quantize_fp8(x, values.data());
  EXPECT_EQ(scale, 3.0f / 448);
  EXPECT_EQ(values[1], 0xfe);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(fp8_to_float(values[i]) * scale, x[i], std::abs(x[i]) / 16 + 3 * 0x1p-18);
  const std::vector<float> zeros(3, 0.0f);
  EXPECT_EQ(quantize_fp8(zeros, values.data()), 0);
  EXPECT_EQ(values[0], 0);
  const std::vector<float> infinite = {1, std::numeric_limits<float>::infinity()};
  EXPECT_FALSE(std::isfinite(quantize_fp8(infinite, values.data())));
  EXPECT_EQ(quantize_fp8({}, values.data()), 0);
}

}  // namespace
}  // namespace bertie
