#include "engine/buckets.h"

#include <gtest/gtest.h>

namespace bertie {
namespace {

TEST(BucketsTest, RowsWasteAtMostSixPercent) {
  int64_t buckets = 0, last = 0;
  for (int64_t count = 0; count <= 70000; ++count) {
    const int64_t edge = row_bucket(count);
    ASSERT_GE(edge, std::max<int64_t>(count, 1));
    ASSERT_LE((edge - count) * 100, std::max<int64_t>(count, 17) * 6) << count << " in a bucket of " << edge;
    ASSERT_EQ(row_bucket(edge), edge);
    ASSERT_GE(edge, last);
    if (edge != last) ++buckets;
    last = edge;
    ASSERT_TRUE(count <= 140 || edge % 8 == 0) << count;
  }
  EXPECT_LT(buckets, 220);
}

TEST(BucketsTest, FewRowsHaveBucketsOfTheirOwn) {
  for (int64_t count = 1; count <= 16; ++count) EXPECT_EQ(row_bucket(count), count);
}

// Kernels are chosen for a bucket's rows, and take them 128 at a time.
TEST(BucketsTest, RoundNumbersOfRowsFillTheirBuckets) {
  for (int64_t count = 64; count <= 1024; count += 32) EXPECT_EQ(row_bucket(count), count);
  for (int64_t sequences = 1; sequences <= 32; ++sequences) EXPECT_EQ(row_bucket(sequences * 128), sequences * 128);
  for (int64_t sequences = 1; sequences <= 256; sequences *= 2)
    for (const int64_t length : {128, 256, 384, 512}) EXPECT_EQ(row_bucket(sequences * length), sequences * length);
}

TEST(BucketsTest, EntriesAreAtMostAQuarterMore) {
  for (int64_t count = 0; count <= 5000; ++count) {
    const int64_t edge = entry_bucket(count, 8);
    ASSERT_GE(edge, std::max<int64_t>(count, 8));
    ASSERT_LE(edge, std::max<int64_t>(count + count / 4 + 1, 8));
    ASSERT_EQ(entry_bucket(edge, 8), edge);
  }
}

}  // namespace
}  // namespace bertie
