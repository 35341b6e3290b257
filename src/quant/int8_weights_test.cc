#include "quant/int8_weights.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

namespace bertie {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Int8Weights, ARowOfIntegersTimesAStepKeepsThem) {
  std::mt19937 random(5);
  for (const int largest : {1, 2, 63, 64, 90, 127, 128}) {
    for (const float step : {1.0f, 0.1f, 3.7e-4f, 1.1e-9f, 123.4f}) {
      std::vector<int> integers;
      std::vector<float> row;
      for (int i = 0; i < 40; ++i) {
        integers.push_back(i == 17 ? -largest
                                   : static_cast<int>(random() % (2 * static_cast<unsigned>(largest) - 1)) - largest + 1);
        row.push_back(static_cast<float>(integers.back()) * step);
      }
      std::vector<int8_t> values(row.size());
      const float scale = quantize_int8_weights(row, values.data());
      for (size_t i = 0; i < row.size(); ++i) {
        if (integers[i] != -128) {
          EXPECT_FLOAT_EQ(values[i] * scale, row[i]) << largest << " " << step << " " << integers[i];
        } else {
          EXPECT_EQ(values[i], -127);
        }
      }
    }
  }
  // To the bit: 0.1 is not 12.7f / 127.
  std::vector<float> row;
  for (int i = -127; i <= 127; ++i) row.push_back(static_cast<float>(i) * 0.1f);
  EXPECT_EQ(int8_step(row), 0.1f);
}

TEST(Int8Weights, OtherRowsHaveNoStep) {
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  std::vector<float> row(40);
  for (float& value : row) value = normal(random);
  EXPECT_EQ(int8_step(row), 0.0f);
  std::vector<int8_t> values(row.size()), plain(row.size());
  EXPECT_EQ(quantize_int8_weights(row, values.data()), quantize_int8(row, plain.data()));
  EXPECT_EQ(values, plain);
  for (const float odd : {kNan, kInfinity}) {
    row[3] = odd;
    EXPECT_EQ(int8_step(row), 0.0f);
  }
  std::fill(row.begin(), row.end(), 0.0f);
  EXPECT_EQ(int8_step(row), 0.0f);
  row = {129.0f, 1.0f, 2.0f, 3.0f};  // integers, but too many of them
  EXPECT_EQ(int8_step(row), 0.0f);
}

}  // namespace
}  // namespace bertie
