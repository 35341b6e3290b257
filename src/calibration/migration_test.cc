// The choice of a tensor's channels against plain loops in float64.
#include "calibration/migration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace bertie::calibration {
namespace {

struct Problem {
  size_t rows, depth, outputs;
  std::vector<float> x, w;
  ChannelStatistics statistics;

  Problem(size_t rows, size_t depth, size_t outputs, uint32_t seed)
      : rows(rows), depth(depth), outputs(outputs), x(rows * depth), w(outputs * depth), statistics(depth) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (float& value : x) value = normal(random);
    for (float& value : w) value = 0.1f * normal(random);
  }
  void scale_channel(size_t k, float factor, float shift = 0) {
    for (size_t row = 0; row < rows; ++row) x[row * depth + k] = x[row * depth + k] * factor + shift;
  }
  ChannelScheme choose(const MigrationOptions& options = {}, int threads = 1) {
    statistics = ChannelStatistics(depth);
    statistics.add(x);
    ThreadPool pool(threads);
    return choose_channels(statistics, x, w, options, pool);
  }
};

// What the layer gives in integers, its bias corrected, against what it should.
double slow_error(const Problem& problem, const ChannelScheme& scheme) {
  const size_t depth = problem.depth;
  const double step = scheme.range / 127.0;
  const auto quantized = [&](size_t row, size_t k) {
    const double z = (problem.x[row * depth + k] - scheme.shift[k]) / scheme.migration[k];
    return std::clamp(std::nearbyint(z / step), -127.0, 127.0) * step * scheme.migration[k] + scheme.shift[k];
  };
  double error = 0, energy = 0;
  for (size_t n = 0; n < problem.outputs; ++n) {
    double largest = 0, correction = 0;
    for (size_t k = 0; k < depth; ++k)
      largest = std::max(largest, std::abs(static_cast<double>(problem.w[n * depth + k]) * scheme.migration[k]));
    std::vector<double> kept(depth);
    for (size_t k = 0; k < depth; ++k) {
      const double w = problem.w[n * depth + k];
      kept[k] = std::nearbyint(w * scheme.migration[k] / largest * 127) * largest / 127 / scheme.migration[k];
      correction += (w - kept[k]) * static_cast<double>(problem.statistics.mean()[k]);
    }
    for (size_t row = 0; row < problem.rows; ++row) {
      double exact = 0, found = correction;
      for (size_t k = 0; k < depth; ++k) {
        exact += static_cast<double>(problem.w[n * depth + k]) * problem.x[row * depth + k];
        found += kept[k] * quantized(row, k);
      }
      error += (exact - found) * (exact - found);
      energy += exact * exact;
    }
  }
  return error / energy;
}

TEST(Migration, ErrorIsThatOfTheLayersOutputs) {
  for (const auto& [rows, depth, outputs] :
       {std::tuple<size_t, size_t, size_t>{1, 1, 1}, {7, 33, 17}, {96, 64, 5}, {31, 385, 40}}) {
    Problem problem(rows, depth, outputs, 3);
    problem.scale_channel(depth / 2, 30);
    problem.scale_channel(depth - 1, 1, 9);
    for (const Shift shift : {Shift::none, Shift::tensor, Shift::channel}) {
      if (rows == 1 && shift != Shift::none) continue;  // one value: nothing is left of it
      for (const double alpha : {0.0, 0.5, 1.0}) {
        const ChannelScheme scheme = problem.choose({{shift}, {alpha}});
        const double expected = slow_error(problem, scheme);
        EXPECT_NEAR(scheme.error, expected, 0.02 * expected + 1e-9) << depth << " " << shift_name(shift) << " " << alpha;
      }
    }
  }
}

TEST(Migration, TheBestOfAllCandidates) {
  Problem problem(40, 48, 24, 5);
  problem.scale_channel(3, 50);
  problem.scale_channel(7, 0.02f, 4);
  const ChannelScheme best = problem.choose();
  const MigrationOptions all;
  for (const Shift shift : all.shifts) {
    EXPECT_LE(best.error, problem.choose({{shift}, {}}).error);
    for (const double alpha : all.alphas) EXPECT_LE(best.error, problem.choose({{shift}, {alpha}}).error);
  }
  EXPECT_TRUE(best.alpha);
  EXPECT_LT(best.error, problem.choose({{Shift::none}, {}}).error / 20);  // what plain scales lose to two such channels
}

// So many outputs are judged by a quarter of them first.
TEST(Migration, ManyOutputs) {
  for (const uint32_t seed : {1, 2, 3}) {
    Problem problem(48, 40, 259, seed);
    problem.scale_channel(seed, 20);
    problem.scale_channel(9, 0.05f, 2);
    const ChannelScheme best = problem.choose();
    double least = INFINITY;
    const MigrationOptions all;
    for (const Shift shift : all.shifts) {
      least = std::min(least, problem.choose({{shift}, {}}).error);
      for (const double alpha : all.alphas) least = std::min(least, problem.choose({{shift}, {alpha}}).error);
    }
    EXPECT_LE(best.error, 1.01 * least);
    EXPECT_NEAR(best.error, slow_error(problem, best), 0.02 * best.error);  // of all outputs
    EXPECT_EQ(best.error, problem.choose({}, 3).error);
  }
}

TEST(Migration, FollowsItsFormula) {
  Problem problem(20, 9, 4, 7);
  problem.scale_channel(2, 100);
  const ChannelScheme scheme = problem.choose({{Shift::channel}, {0.3}});
  std::vector<double> expected;
  double product = 1;
  for (size_t k = 0; k < 9; ++k) {
    float lowest = INFINITY, highest = -INFINITY, column = 0;
    for (size_t row = 0; row < 20; ++row) {
      lowest = std::min(lowest, problem.x[row * 9 + k]);
      highest = std::max(highest, problem.x[row * 9 + k]);
    }
    for (size_t n = 0; n < 4; ++n) column = std::max(column, std::abs(problem.w[n * 9 + k]));
    EXPECT_NEAR(scheme.shift[k], (lowest + highest) / 2, 1e-5);
    expected.push_back(std::pow((highest - lowest) / 2, 0.3) / std::pow(column, 0.7));
    product *= expected.back();
    EXPECT_LE((highest - lowest) / 2 / scheme.migration[k], scheme.range * 1.00001);
  }
  for (size_t k = 0; k < 9; ++k)
    EXPECT_NEAR(scheme.migration[k], expected[k] / std::pow(product, 1 / 9.0), 1e-4 * scheme.migration[k]);
}

TEST(Migration, DeadAndConstantChannels) {
  Problem problem(10, 6, 5, 2);
  problem.scale_channel(1, 0);
  problem.scale_channel(4, 0, -3.5f);
  for (const MigrationOptions& options : {MigrationOptions{}, MigrationOptions{{Shift::channel}, {0.5}}}) {
    const ChannelScheme scheme = problem.choose(options);
    EXPECT_EQ(scheme.migration[1], 1);
    EXPECT_LT(scheme.error, 1e-3);
    for (const float migration : scheme.migration) EXPECT_TRUE(std::isfinite(migration) && migration > 0);
  }
  std::fill(problem.x.begin(), problem.x.end(), 0.0f);
  const ChannelScheme dead = problem.choose();
  EXPECT_EQ(dead.range, 0);
  EXPECT_EQ(dead.error, 0);
  std::fill(problem.w.begin(), problem.w.end(), 0.0f);
  for (const float migration : problem.choose().migration) EXPECT_EQ(migration, 1);
}

TEST(Migration, ThreadsDoNotMatter) {
  Problem problem(50, 100, 130, 8);
  const ChannelScheme one = problem.choose({}, 1), three = problem.choose({}, 3);
  EXPECT_EQ(one.error, three.error);
  EXPECT_EQ(one.migration, three.migration);
  EXPECT_EQ(one.shift, three.shift);
}

}  // namespace
}  // namespace bertie::calibration
