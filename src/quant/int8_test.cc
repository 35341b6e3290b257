#include "quant/int8.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace bertie {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

std::pair<float, std::vector<int>> quantized(const std::vector<float>& x) {
  std::vector<int8_t> values(x.size());
  const float scale = quantize_int8(x, values.data());
  return {scale, {values.begin(), values.end()}};
}

TEST(Int8, TheLargestMagnitudeBecomes127) {
  EXPECT_EQ(quantized({1.0f, -2.0f, 0.5f, 0.0f}), std::pair(2.0f / 127.0f, std::vector<int>{64, -127, 32, 0}));  // 63.5, 31.75
  EXPECT_EQ(quantized({127.0f, 2.5f, 3.5f, -2.5f, 0.49f}), std::pair(1.0f, std::vector<int>{127, 2, 4, -2, 0}));
}

TEST(Int8, ZerosNothingAndTinyValues) {
  EXPECT_EQ(quantized({}), std::pair(0.0f, std::vector<int>{}));
  EXPECT_EQ(quantized({0.0f, -0.0f}), std::pair(0.0f, std::vector<int>{0, 0}));
  EXPECT_EQ(quantized({1e-44f, -1e-44f, 0.0f}).second[1], -127);  // 127 / it overflows
}

TEST(Int8, WhatIsNotFiniteShowsInTheScale) {
  EXPECT_EQ(quantized({1.0f, -kInfinity}).first, kInfinity);
  EXPECT_TRUE(std::isnan(quantized({kInfinity, kNan, 1.0f}).first));
  EXPECT_TRUE(std::isnan(quantized({1.0f, -kNan}).first));
}

TEST(Int8, FixedScalesTakeOneRoundingAndAreHeld) {
  EXPECT_EQ(to_int8_fixed(2.5f, 1.0f, 0.0f), 2);
  EXPECT_EQ(to_int8_fixed(2.5f, 1.0f, 1.0f), 4);
  EXPECT_EQ(to_int8_fixed(1.0f, 126.0f, 0.75f), 127);
  EXPECT_EQ(to_int8_fixed(1.0f, 1000.0f, 0.0f), 127);
  EXPECT_EQ(to_int8_fixed(-1.0f, 127.6f, 0.0f), -127);
  EXPECT_EQ(to_int8_fixed(kInfinity, 1.0f, 0.0f), 127);
  EXPECT_EQ(to_int8_fixed(-kInfinity, 1.0f, 0.0f), -127);
  EXPECT_EQ(to_int8_fixed(kNan, 1.0f, 0.0f), -127);
  // 1 + 2^-23, times 1 - 2^-24, less 0.5: with the product rounded first it would be 0.5, and so 0.
  EXPECT_EQ(to_int8_fixed(1.0f + 0x1p-22f, 1.0f - 0x1p-24f, -0.5f), 1);
}

TEST(Int8, OtherNeighbours) {
  EXPECT_EQ(other_int8(2.25f), 3);
  EXPECT_EQ(other_int8(2.75f), 2);
  EXPECT_EQ(other_int8(-2.25f), -3);
  EXPECT_EQ(other_int8(-2.75f), -2);
  EXPECT_EQ(other_int8(2.5f), 3);  // the nearest is the even one
  EXPECT_EQ(other_int8(3.5f), 3);
  EXPECT_EQ(other_int8(0.0f), -1);
  EXPECT_EQ(other_int8(5.0f), 4);
  EXPECT_EQ(other_int8(-5.0f), -4);
  EXPECT_EQ(other_int8(127.0f), 126);
  EXPECT_EQ(other_int8(-127.0f), -126);
  EXPECT_EQ(other_int8(127.0001f), 127);  // 128 is none
  EXPECT_EQ(other_int8(-127.0001f), -127);

  const std::vector<float> row = {127.0f, 2.25f, -2.75f, 4.0f};
  const std::vector<int32_t> others = {1, 3};
  std::vector<int8_t> values(4);
  EXPECT_EQ(quantize_int8(row, others, values.data()), 1);
  EXPECT_EQ(values, (std::vector<int8_t>{127, 3, -3, 3}));
  EXPECT_EQ(quantize_int8(std::vector<float>(4), others, values.data()), 0);
  EXPECT_EQ(values, (std::vector<int8_t>(4)));
}

TEST(Int8, ResultsAreRoundedOnce) {
  const float bias = 1.0f;
  // 16777217 is no float: it becomes 16777216.
  EXPECT_EQ(int8_result(16777217, 1.0f, 1.0f, nullptr), 16777216.0f);
  // A product rounded before the sum would lose the 2^-24.
  EXPECT_EQ(int8_result(4097, 4097.0f, 1.0f, &bias), static_cast<float>(4097.0 * 4097.0 + 1.0));
}

}  // namespace
}  // namespace bertie
