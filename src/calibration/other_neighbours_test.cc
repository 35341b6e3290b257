// The choice of neighbours against exhaustive search, and against the error of real products in float64.
#include "calibration/other_neighbours.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "quant/int8.h"

namespace bertie::calibration {
namespace {

struct Problem {
  size_t rows, depth, outputs;
  std::vector<float> x, w, mean, migration;

  Problem(size_t rows, size_t depth, size_t outputs, uint32_t seed)
      : rows(rows), depth(depth), outputs(outputs), x(rows * depth), w(outputs * depth), mean(depth), migration(depth) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    for (size_t row = 0; row < rows; ++row) {
      const float common = normal(random);  // what makes channels move together
      for (size_t k = 0; k < depth; ++k) x[row * depth + k] = common + 0.3f * normal(random) + static_cast<float>(k % 3);
    }
    for (float& value : w) value = normal(random);
    for (float& value : migration) value = std::exp(0.3f * normal(random));
    for (size_t i = 0; i < x.size(); ++i) mean[i % depth] += x[i] / static_cast<float>(rows);
  }
  std::vector<std::vector<int32_t>> choose(int threads = 1) const {
    ThreadPool pool(threads);
    return choose_other_neighbours(InputMoments(x, mean, migration, pool), w, migration, pool);
  }
  // Mean squared error of output n on rows of x less their mean.
  double error(size_t n, const std::vector<int32_t>& others) const {
    std::vector<float> row(depth);
    std::vector<int8_t> values(depth);
    for (size_t k = 0; k < depth; ++k) row[k] = w[n * depth + k] * migration[k];
    const float scale = quantize_int8(row, others, values.data());
    double sum = 0;
    for (size_t at = 0; at < rows; ++at) {
      double difference = 0;
      for (size_t k = 0; k < depth; ++k)
        difference += (static_cast<double>(values[k]) * scale - row[k]) / migration[k] * (x[at * depth + k] - mean[k]);
      sum += difference * difference;
    }
    return sum / static_cast<double>(rows);
  }
};

TEST(OtherNeighbours, TheFirstIsTheBestOfAll) {
  const Problem problem(4000, 7, 40, 3);
  const auto chosen = problem.choose();
  size_t some = 0;
  for (size_t n = 0; n < problem.outputs; ++n) {
    const double nearest = problem.error(n, {});
    double best = nearest;
    for (int32_t k = 0; k < 7; ++k) best = std::min(best, problem.error(n, {k}));
    // Each next one only takes away; doubt about what few rows say costs little here, where there are many.
    EXPECT_LE(problem.error(n, chosen[n]), best * 1.05 + 1e-9) << n;
    EXPECT_EQ(chosen[n].empty(), best > nearest * 0.99) << n << " " << best / nearest;
    some += chosen[n].empty() ? 0 : 1;
  }
  EXPECT_GT(some, 20u);
}

TEST(OtherNeighbours, TakeMostOfTheErrorOnOtherRows) {
  Problem problem(600, 130, 33, 5);
  const auto chosen = problem.choose();
  Problem others(600, 130, 33, 5);
  for (size_t i = 0; i < others.x.size(); ++i) others.x[i] = problem.x[(i + 65 * 130) % problem.x.size()] * 0.9f + 0.1f;
  double nearest = 0, found = 0;
  for (size_t n = 0; n < problem.outputs; ++n) {
    nearest += others.error(n, {});
    found += others.error(n, chosen[n]);
    EXPECT_LE(chosen[n].size(), kOthers);
    EXPECT_TRUE(std::is_sorted(chosen[n].begin(), chosen[n].end()));
    EXPECT_EQ(std::adjacent_find(chosen[n].begin(), chosen[n].end()), chosen[n].end());
  }
  EXPECT_LT(found, 0.3 * nearest);
}

TEST(OtherNeighbours, NothingWithoutReason) {
  EXPECT_TRUE(Problem(50, 1, 4, 1).choose()[0].empty());  // one channel: the nearest is best
  Problem problem(50, 20, 6, 2);
  std::fill(problem.x.begin(), problem.x.end(), 1.5f);
  std::fill(problem.mean.begin(), problem.mean.end(), 1.5f);
  for (const auto& columns : problem.choose()) EXPECT_TRUE(columns.empty());
  problem = Problem(50, 20, 6, 2);
  std::fill(problem.w.begin(), problem.w.begin() + 20, 0.0f);
  EXPECT_TRUE(problem.choose()[0].empty());
  EXPECT_FALSE(problem.choose()[1].empty());
  problem.x.clear();  // no rows
  for (const auto& columns : problem.choose()) EXPECT_TRUE(columns.empty());
  problem.w.clear();
  EXPECT_TRUE(problem.choose().empty());
}

TEST(OtherNeighbours, ThreadsDoNotMatter) {
  const Problem problem(300, 97, 131, 8);
  EXPECT_EQ(problem.choose(1), problem.choose(3));
}

}  // namespace
}  // namespace bertie::calibration
