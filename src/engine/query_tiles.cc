#include "engine/query_tiles.h"

#include <algorithm>

namespace bertie {
namespace {

void add(int64_t query_begin, int64_t query_count, int64_t key_begin, int64_t key_count, int64_t block,
         std::vector<QueryTile>& tiles) {
  for (int64_t done = 0; done < query_count; done += block) {
    tiles.push_back({static_cast<int32_t>(query_begin + done), static_cast<int32_t>(std::min(block, query_count - done)),
                     static_cast<int32_t>(key_begin), static_cast<int32_t>(key_count)});
  }
}

void list_rows(const PackedBatch& batch, std::span<const int32_t> rows, int64_t block, std::vector<QueryTile>& tiles) {
  const int32_t* starts = batch.cumulative_lengths;
  for (size_t i = 0; i < rows.size();) {
    // Row T, "the first" of an empty last sequence, falls to that sequence.
    const int32_t* next = std::upper_bound(starts + 1, starts + batch.sequences, rows[i]);
    const int32_t begin = next[-1], end = next[0];
    size_t last = i + 1;  // of the run of rows in this sequence
    while (last < rows.size() && rows[last] >= begin && rows[last] < end) ++last;
    const int64_t first_key = batch.first_key(next - 1 - starts);
    add(static_cast<int64_t>(i), static_cast<int64_t>(last - i), first_key, end - first_key, block, tiles);
    i = last;
  }
}

}  // namespace

void list_tiles(const PackedBatch& batch, Queries queries, std::span<const int32_t> rows, int64_t block,
                std::vector<QueryTile>& tiles) {
  tiles.clear();
  if (queries == Queries::rows) {
    if (batch.sequences > 0) list_rows(batch, rows, block, tiles);
  } else {
    for (int64_t b = 0; b < batch.sequences; ++b) {
      const int64_t begin = batch.cumulative_lengths[b], end = batch.cumulative_lengths[b + 1], first_key = batch.first_key(b);
      add(begin, end - begin, first_key, end - first_key, block, tiles);
    }
  }
  const auto longer = [](const QueryTile& a, const QueryTile& b) {
    return a.key_count != b.key_count ? a.key_count > b.key_count : a.query_begin < b.query_begin;
  };
  // Sorting allocates nothing, and batches of one length are in order already.
  if (!std::is_sorted(tiles.begin(), tiles.end(), longer)) std::sort(tiles.begin(), tiles.end(), longer);
}

int64_t most_tiles(const BatchLimits& limits, Queries queries, int64_t rows, int64_t block) {
  if (queries == Queries::rows) return rows;
  return limits.tokens / block + limits.sequences + 1;
}

}  // namespace bertie
