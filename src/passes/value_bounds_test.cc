// Moments against samples of what they are about; magnitudes are tested where scales are made of them (passes_test.cc).
#include "passes/value_bounds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "passes/layer_test.h"
#include "reference/kernel.h"

namespace bertie {
namespace {

constexpr int64_t kWidth = 64;
constexpr int kSamples = 20000;

using Row = std::vector<double>;

struct Linear {
  std::vector<float> weight, bias;

  Row of(const Row& x, const std::string& activation = "none") const {
    Row y(bias.begin(), bias.end());
    for (size_t n = 0; n < y.size(); ++n) {
      for (size_t k = 0; k < x.size(); ++k) y[n] += static_cast<double>(weight[n * x.size() + k]) * x[k];
      y[n] = reference::scalar_function(activation)(y[n]);
    }
    return y;
  }
};

class ColumnMoments : public testing::Test {
 protected:
  std::vector<float> numbers(int64_t count, float mean, float deviation) {
    std::vector<float> list(static_cast<size_t>(count));
    for (float& number : list) number = mean + deviation * normal_(random_);
    return list;
  }
  ValueId constant_of(const Shape& shape, const std::vector<float>& values) {
    return network_.add_constant("", Tensor::from_floats(shape, values));
  }
  ValueId norm(ValueId value) {
    return network_.add_layer_norm(value, constant_of({kWidth}, gamma_), constant_of({kWidth}, beta_), 1e-12);
  }
  ValueId linear(ValueId value, const Linear& layer) {
    const auto rows = static_cast<int64_t>(layer.bias.size());
    return network_.add_linear(value, constant_of({rows, static_cast<int64_t>(layer.weight.size()) / rows}, layer.weight),
                               constant_of({rows}, layer.bias));
  }
  Linear random_linear(int64_t rows, int64_t columns) {
    return {numbers(rows * columns, 0, 1.5f / std::sqrt(static_cast<float>(columns))), numbers(rows, 0, 0.5f)};
  }
  // gamma u + beta; u as a layer norm makes it of normal numbers, or those themselves.
  Row sample(bool normalized) {
    Row u(kWidth);
    double sum = 0, squares = 0;
    for (double& value : u) value = normal_(random_), sum += value, squares += value * value;
    const double mean = sum / kWidth, deviation = std::sqrt(squares / kWidth - mean * mean);
    for (size_t k = 0; k < u.size(); ++k) u[k] = (normalized ? (u[k] - mean) / deviation : u[k]) * gamma_[k] + beta_[k];
    return u;
  }
  // `made`: of a row behind the layer norm that `value`'s row.
  template <typename Made>
  void expect_moments(ValueId value, Made made) {
    ValueBounds bounds(network_, rows_);
    const ColumnBounds* columns = bounds.of(value);
    ASSERT_TRUE(columns);
    for (const bool normalized : {false, true}) {
      const size_t count = columns->mean.size();
      Row sums(count), squares(count), fourths(count);
      for (int i = 0; i < kSamples; ++i) {
        const Row row = made(sample(normalized));
        ASSERT_EQ(row.size(), count);
        for (size_t k = 0; k < count; ++k) {
          const double square = row[k] * row[k];
          sums[k] += row[k] / kSamples, squares[k] += square / kSamples, fourths[k] += square * square / kSamples;
        }
      }
      double expected = 0, found = 0;
      for (size_t k = 0; k < count; ++k) {
        const double second = columns->mean[k] * columns->mean[k] + columns->variance[k];
        expected += second, found += squares[k];
        if (normalized) continue;  // columns that are not quite independent: all together alone
        // Five times what means of so many samples are off by, and what the sum at 49 points is.
        const double off = 5 * std::sqrt((squares[k] - sums[k] * sums[k]) / kSamples) + 0.005 * std::sqrt(second);
        EXPECT_NEAR(columns->mean[k], sums[k], off) << k;
        EXPECT_NEAR(second, squares[k], 5 * std::sqrt((fourths[k] - squares[k] * squares[k]) / kSamples) + 0.005 * second) << k;
      }
      EXPECT_NEAR(expected / found, 1, 0.03) << normalized;
    }
  }

  std::mt19937 random_{7};
  std::normal_distribution<float> normal_;
  std::vector<float> gamma_ = numbers(kWidth, 0.8f, 0.3f), beta_ = numbers(kWidth, 0, 0.4f);
  Network network_;
  WeightRows rows_;
  ValueId input_ = network_.add_input("x", DType::f32, {"batch", "sequence", kWidth});
};

TEST_F(ColumnMoments, BehindALayerNorm) {
  expect_moments(norm(input_), [](const Row& x) { return x; });
}

TEST_F(ColumnMoments, BehindALinearLayer) {
  const Linear layer = random_linear(48, kWidth);
  expect_moments(linear(norm(input_), layer), [&](const Row& x) { return layer.of(x); });
}

TEST_F(ColumnMoments, BehindGelu) {
  const Linear layer = random_linear(48, kWidth);
  for (const std::string kind : {"none", "tanh"}) {
    expect_moments(network_.add_gelu(linear(norm(input_), layer), kind),
                   [&](const Row& x) { return layer.of(x, kind == "tanh" ? "gelu_tanh" : "gelu"); });
  }
}

TEST_F(ColumnMoments, BehindAnActivationOfTheLayersOwn) {
  const Linear layer = random_linear(48, kWidth);
  for (const std::string activation : {"gelu", "gelu_tanh", "relu", "silu", "tanh"}) {
    const ValueId value = linear(norm(input_), layer);
    network_.mutable_node(network_.value(value).producer).attributes["activation"] = activation;
    expect_moments(value, [&](const Row& x) { return layer.of(x, activation); });
  }
}

// The feed-forward pair, as if GELU's columns were independent: within a few percent of what they are.
TEST_F(ColumnMoments, BehindTwoLinearLayers) {
  const Linear wide = random_linear(128, kWidth), layer = random_linear(16, 128);
  ValueBounds bounds(network_, rows_);
  const ColumnBounds* columns = bounds.of(linear(network_.add_gelu(linear(norm(input_), wide)), layer));
  ASSERT_TRUE(columns);
  double expected = 0, found = 0;
  for (int i = 0; i < 4000; ++i) {
    for (const double y : layer.of(wide.of(sample(true), "gelu"))) found += y * y / 4000;
  }
  for (size_t k = 0; k < 16; ++k) expected += columns->mean[k] * columns->mean[k] + columns->variance[k];
  EXPECT_NEAR(expected / found, 1, 0.1);
}

// With one key the context is v, with more a mean.
TEST_F(ColumnMoments, OfAContextAreThoseOfV) {
  const Linear v = random_linear(kWidth, kWidth), other = random_linear(kWidth, kWidth);
  const ValueId x = norm(input_), q = linear(x, other);
  const ValueId context = network_.add_attention(q, q, linear(x, v), kNone, kNone, 2, 0.1);
  expect_moments(context, [&](const Row& row) { return v.of(row); });

  Linear all{other.weight, other.bias};
  for (const Linear* part : {&other, &v}) {
    all.weight.insert(all.weight.end(), part->weight.begin(), part->weight.end());
    all.bias.insert(all.bias.end(), part->bias.begin(), part->bias.end());
  }
  const ValueId packed = network_.add_node("attention", {linear(x, all), kNone, kNone, kNone, kNone},
                                           {{"heads", int64_t{2}}, {"scale", 0.1}, {"packed_qkv", int64_t{1}}})[0];
  ValueBounds bounds(network_, rows_);
  const ColumnBounds *apart = bounds.of(context), *together = bounds.of(packed);
  ASSERT_TRUE(apart && together);
  EXPECT_EQ(together->largest, apart->largest);
  EXPECT_EQ(together->mean, apart->mean);
  EXPECT_EQ(together->variance, apart->variance);
}

TEST_F(ColumnMoments, AreUnknownOfANetworksInput) {
  const Linear layer = random_linear(48, kWidth);
  ValueBounds bounds(network_, rows_);
  EXPECT_FALSE(bounds.of(input_));
  EXPECT_FALSE(bounds.of(linear(input_, layer)));
}

// E relu(x)^2 of a centred x is half its variance; GELU's of a wide x are relu's, and of a narrow one (x / 2)^2 about.
TEST(MomentsBehind, AreThoseThatAreKnown) {
  const auto second = [](const char* activation, double mean, double variance) {
    const auto [centre, around] = moments_behind(activation, mean, variance);
    return centre * centre + around;
  };
  EXPECT_NEAR(second("relu", 0, 4), 2, 0.01);
  EXPECT_NEAR(second("gelu", 0, 2500) / 1250, 1, 0.01);
  EXPECT_NEAR(second("gelu", 0, 1e-6) / 0.25e-6, 1, 0.01);
  EXPECT_NEAR(second("gelu", 30, 1), 901, 0.01);
  EXPECT_NEAR(second("tanh", 5, 1), 1, 0.01);
  EXPECT_EQ(moments_behind("none", 3, 5), (std::pair<double, double>(3, 5)));
  const auto [centre, around] = moments_behind("gelu", -1.0, 0.0);
  EXPECT_DOUBLE_EQ(centre, reference::scalar_function("gelu")(-1.0));
  EXPECT_NEAR(around, 0, 1e-15);
}

}  // namespace
}  // namespace bertie
