// A sample: bounded, the same from the same seed, and fair.
#include "calibration/text_sample.h"

#include <gtest/gtest.h>

#include <map>

namespace bertie::calibration {
namespace {

std::vector<size_t> lines(size_t texts, size_t capacity, uint64_t seed) {
  TextSample sample(capacity, seed);
  for (size_t line = 1; line <= texts; ++line) sample.offer(line, "text " + std::to_string(line));
  EXPECT_EQ(sample.offered(), texts);
  std::vector<size_t> result;
  for (const SampledText& text : sample.take()) {
    EXPECT_EQ(text.text, "text " + std::to_string(text.line));
    EXPECT_TRUE(result.empty() || result.back() < text.line);
    result.push_back(text.line);
  }
  return result;
}

TEST(TextSample, AllOfFewAndSoManyOfMore) {
  EXPECT_EQ(lines(0, 3, 0).size(), 0u);
  EXPECT_EQ(lines(2, 3, 0), (std::vector<size_t>{1, 2}));
  EXPECT_EQ(lines(3, 3, 7), (std::vector<size_t>{1, 2, 3}));
  EXPECT_EQ(lines(4, 3, 0).size(), 3u);
  EXPECT_EQ(lines(100000, 10, 0).size(), 10u);
}

TEST(TextSample, TheSeedDecides) {
  EXPECT_EQ(lines(1000, 10, 5), lines(1000, 10, 5));
  EXPECT_NE(lines(1000, 10, 5), lines(1000, 10, 6));
}

TEST(TextSample, EveryLineHasTheSameChance) {
  std::map<size_t, int> kept;
  for (uint64_t seed = 0; seed < 4000; ++seed)
    for (const size_t line : lines(20, 5, seed)) ++kept[line];
  for (size_t line = 1; line <= 20; ++line) EXPECT_NEAR(kept[line], 1000, 150) << line;  // five deviations
}

TEST(TextSample, WhiteSpaceIsNoText) {
  TextSample sample(5, 0);
  for (const char* text : {"", " ", "\t\r", "a", "\v\f\n"}) sample.offer(sample.offered() + 1, text);
  EXPECT_EQ(sample.offered(), 1u);
}

}  // namespace
}  // namespace bertie::calibration
