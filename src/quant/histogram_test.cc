// Histograms and channel statistics: edges of bins, division and order.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "bertie/calibration.h"
#include "quant/channel_statistics.h"

namespace bertie {
namespace {

constexpr size_t kBins = Histogram::kBins;

std::vector<float> noise(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<uint64_t> counts(const Histogram& histogram) { return {histogram.counts().begin(), histogram.counts().end()}; }

TEST(Histogram, EdgesOfBins) {
  Histogram histogram(kBins);  // of width 1
  histogram.add(std::vector<float>{0, -0.0f, 0.99f, -1, 1.5f, kBins - 1, kBins, -3.0f * kBins});
  EXPECT_EQ(histogram.counts()[0], 3u);
  EXPECT_EQ(histogram.counts()[1], 2u);
  EXPECT_EQ(histogram.counts()[kBins - 1], 3u);
  EXPECT_EQ(histogram.total(), 8u);
}

TEST(Histogram, NoRangeAndTinyRanges) {
  for (const double range : {0.0, 1e-45}) {
    Histogram histogram(range);
    histogram.add({});
    histogram.add(std::vector<float>{0, 0, static_cast<float>(range)});
    EXPECT_EQ(histogram.total(), 3u);
    EXPECT_GE(histogram.counts()[0], 2u);
  }
}

TEST(Histogram, DivisionAndOrderDoNotMatter) {
  std::vector<float> values = noise(10001, 1);
  Histogram whole(3), first(3), second(3), reversed(3);
  whole.add(values);
  first.add(std::span(values).first(17));
  second.add(std::span(values).subspan(17));
  second.merge(first);
  std::reverse(values.begin(), values.end());
  reversed.add(values);
  EXPECT_EQ(counts(whole), counts(second));
  EXPECT_EQ(counts(whole), counts(reversed));
  EXPECT_EQ(whole.total(), values.size());
}

TEST(ChannelStatistics, AreThoseOfEachColumn) {
  for (const size_t channels : {1, 2, 7, 64}) {
    const size_t rows = 33;
    const std::vector<float> values = noise(rows * channels, 5);
    ChannelStatistics statistics(channels);
    statistics.add(values);
    EXPECT_EQ(statistics.rows(), rows);
    for (size_t k = 0; k < channels; ++k) {
      double sum = 0;
      float lowest = values[k], highest = values[k];
      for (size_t row = 0; row < rows; ++row) {
        const float value = values[row * channels + k];
        sum += value;
        lowest = std::fmin(lowest, value);
        highest = std::fmax(highest, value);
      }
      EXPECT_EQ(statistics.lowest()[k], lowest);
      EXPECT_EQ(statistics.highest()[k], highest);
      EXPECT_EQ(statistics.mean()[k], static_cast<float>(sum / rows));
    }
  }
}

TEST(ChannelStatistics, MergedPartsHaveTheSameExtremesAndCounts) {
  const std::vector<float> values = noise(40 * 5, 9);
  ChannelStatistics whole(5), first(5), second(5);
  whole.add(values);
  first.add(std::span(values).first(15));
  second.add(std::span(values).subspan(15));
  first.merge(second);
  EXPECT_EQ(first.rows(), whole.rows());
  for (size_t k = 0; k < 5; ++k) {
    EXPECT_EQ(first.lowest()[k], whole.lowest()[k]);
    EXPECT_EQ(first.highest()[k], whole.highest()[k]);
    EXPECT_FLOAT_EQ(first.mean()[k], whole.mean()[k]);
  }
}

TEST(ChannelStatistics, WhatIsNotFiniteShows) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kMost = std::numeric_limits<float>::max();
  ChannelStatistics statistics(2);
  EXPECT_EQ(statistics.mean(), std::vector<float>({0, 0}));
  statistics.add(std::vector<float>{kMost, 0, kMost, 0, kMost, 0});
  EXPECT_TRUE(statistics.finite());
  for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
    ChannelStatistics other(2);
    other.add(std::vector<float>{1, bad});
    EXPECT_FALSE(other.finite());
    other.merge(statistics);
    EXPECT_FALSE(other.finite());
  }
}

}  // namespace
}  // namespace bertie
