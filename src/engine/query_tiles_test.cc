#include "engine/query_tiles.h"

#include <gtest/gtest.h>

#include <random>

namespace bertie {
namespace {

// Every (query, its keys) that a list of tiles covers: by query, the keys' begin and end.
std::vector<std::vector<std::pair<int64_t, int64_t>>> covered(const std::vector<QueryTile>& tiles, int64_t queries) {
  std::vector<std::vector<std::pair<int64_t, int64_t>>> keys(static_cast<size_t>(queries));
  for (const QueryTile& tile : tiles) {
    for (int64_t query = tile.query_begin; query < int64_t{tile.query_begin} + tile.query_count; ++query)
      keys.at(static_cast<size_t>(query)).emplace_back(tile.key_begin, tile.key_begin + tile.key_count);
  }
  return keys;
}

TEST(QueryTilesTest, CoverEveryRowOfRandomBatchesOnce) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const int64_t block = int64_t{16} << random() % 4, count = random() % 12;
    std::vector<int32_t> starts{0}, leading;
    for (int64_t b = 0; b < count; ++b) {
      const int32_t length = static_cast<int32_t>(random() % 3 == 0 ? random() % 2 : random() % 200);
      starts.push_back(starts.back() + length);
      leading.push_back(length > 1 ? static_cast<int32_t>(random() % 2) : 0);
    }
    PackedBatch batch;
    batch.tokens = starts.back();
    batch.sequences = count;
    batch.cumulative_lengths = starts.data();
    if (round % 2 == 1) batch.queries_only = leading.data();
    std::vector<QueryTile> tiles;
    list_tiles(batch, Queries::all, {}, block, tiles);
    EXPECT_LE(static_cast<int64_t>(tiles.size()), most_tiles({batch.tokens, count, 200, 0}, Queries::all, 0, block));
    for (size_t i = 1; i < tiles.size(); ++i) EXPECT_GE(tiles[i - 1].key_count, tiles[i].key_count);
    const auto keys = covered(tiles, batch.tokens);
    std::vector<int32_t> rows;
    for (int64_t b = 0; b < count; ++b) {
      for (int64_t row = starts[static_cast<size_t>(b)]; row < starts[static_cast<size_t>(b + 1)]; ++row) {
        const std::pair<int64_t, int64_t> own(batch.first_key(b), starts[static_cast<size_t>(b + 1)]);
        ASSERT_EQ(keys[static_cast<size_t>(row)], std::vector{own}) << "row " << row;
        for (uint32_t repeat = random() % 4; repeat > 2; --repeat) rows.push_back(static_cast<int32_t>(row));
      }
    }
    // The same keys where only some rows are queries.
    list_tiles(batch, Queries::rows, rows, block, tiles);
    EXPECT_LE(tiles.size(), rows.size());
    const auto some = covered(tiles, static_cast<int64_t>(rows.size()));
    for (size_t i = 0; i < rows.size(); ++i) ASSERT_EQ(some[i], keys[static_cast<size_t>(rows[i])]);
  }
}

TEST(QueryTilesTest, TheLastEmptySequencesFirstRowFallsToIt) {
  const int32_t starts[] = {0, 5, 5};
  PackedBatch batch;
  batch.tokens = 5;
  batch.sequences = 2;
  batch.cumulative_lengths = starts;
  const int32_t rows[] = {0, 5};
  std::vector<QueryTile> tiles;
  list_tiles(batch, Queries::rows, rows, 64, tiles);
  ASSERT_EQ(tiles.size(), 2u);
  EXPECT_EQ(tiles[0].key_count, 5);
  EXPECT_EQ(tiles[1].key_count, 0);
  EXPECT_EQ(tiles[1].query_begin, 1);
}

}  // namespace
}  // namespace bertie
