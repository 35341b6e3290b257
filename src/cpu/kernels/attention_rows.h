// What the attention kernels share: their tiles, where the rows of one head of one item lie, fetching them ahead, and the walk over blocks
// of keys and tiles of queries.
#pragma once

#include "cpu/kernels/attention.h"
#include "cpu/kernels/float_type.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {  // each kernel's own: the linker must not share what it did not inline
// NOLINTBEGIN(misc-definitions-in-headers)

// A tile of R rows by P panels keeps R * P sums, P vectors and one broadcast in registers.
#if defined(__AVX512F__)
constexpr int kTileRows = 12, kScorePanels = 2, kValuePanels = 4;
constexpr int max_rows(int panels) { return panels <= 2 ? 12 : 6; }
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kScorePanels = 1, kValuePanels = 1;
constexpr int max_rows(int) { return 6; }
#else
constexpr int kTileRows = 2, kScorePanels = 1, kValuePanels = 1;
constexpr int max_rows(int) { return 2; }
#endif
constexpr int kMaxPanels = kValuePanels > kScorePanels ? kValuePanels : kScorePanels;
static_assert(kTileRows <= 16, "one vector holds a number for each row");

template <typename Function>
struct TileTable {
  Function at[kTileRows + 1][kMaxPanels + 1] = {};
};
template <typename Function, typename Of, int rows, int panels>
constexpr void fill(TileTable<Function>& table, Of of) {
  if constexpr (rows <= max_rows(panels)) table.at[rows][panels] = of.template operator()<rows, panels>();
  if constexpr (panels > 1) {
    fill<Function, Of, rows, panels - 1>(table, of);
  } else if constexpr (rows > 1) {
    fill<Function, Of, rows - 1, kMaxPanels>(table, of);
  }
}
// of<rows, panels>(): the tile of so many.
template <typename Function, typename Of>
constexpr TileTable<Function> tiles_of(Of of) {
  TileTable<Function> table;
  fill<Function, Of, kTileRows, kMaxPanels>(table, of);
  return table;
}

constexpr int64_t round_up_16(int64_t n) { return (n + 15) / 16 * 16; }

// Added to the last vector of scores: keys that are not there weigh nothing.
struct AbsentKeys {
  alignas(64) float terms[32] = {};  // sixteen zeros, then minus infinities
  constexpr AbsentKeys() {
    for (int i = 16; i < 32; ++i) terms[i] = -__builtin_inff();
  }
};
constexpr AbsentKeys kAbsent;

// One head of one item.
struct HeadRows {
  const AttentionProblem& problem;
  const AttentionItem& item;
  int64_t head;

  int64_t key_row(int64_t key) const { return problem.key_rows ? problem.key_rows[item.key_begin + key] : item.key_begin + key; }
  int64_t query_row(int64_t query) const {
    return problem.query_rows ? problem.query_rows[item.query_begin + query] : item.query_begin + query;
  }
  const float* q(int64_t query) const { return row_of(problem.q, query_row(query)); }
  const float* k(int64_t key) const { return row_of(problem.k, key_row(key)); }
  const float* v(int64_t key) const { return row_of(problem.v, key_row(key)); }
  float* out(int64_t query) const {
    return problem.out + ((item.query_begin + query - problem.first_out_query) * problem.heads + head) * problem.head_dim;
  }

  // Calls body(r, i, bias) for `rows` queries from `query` on and the keys from `key` on, sixteen at a time: bias of keys key + i ...
  template <typename Body>
  void for_biases(int64_t query, int64_t rows, int64_t key, int64_t keys, Body body) const {
    const bool contiguous = !problem.columns && !problem.key_rows;
    const Vec16 least = broadcast(problem.bias ? problem.least_bias : -__builtin_inff());
    for (int64_t r = 0; r < rows; ++r) {
      const float* bias = biases(query_row(query + r));
      for (int64_t i = 0; i < keys; i += 16) {
        const int64_t count = min(16, keys - i);
        if (contiguous) {
          body(r, i, max(least, load_up_to_16(bias + key + i, count)));
        } else {
          float lanes[16] = {};
          for (int64_t lane = 0; lane < count; ++lane) lanes[lane] = bias[column(key_row(key + i + lane))];
          body(r, i, max(least, load(lanes)));
        }
      }
    }
  }
  bool is_biased() const { return problem.relative_bias || problem.bias; }

  void write_zeros() const {
    for (int64_t query = 0; query < item.query_count; ++query) {
      float* const to = out(query);
      for (int64_t d = 0; d < problem.head_dim; ++d) to[d] = 0;
    }
  }

 private:
  // From the key in column 0 on.
  const float* biases(int64_t row) const {
    if (problem.bias) {
      return problem.bias + row / problem.sequence * problem.bias_sequence_stride + head * problem.bias_head_stride +
             row % problem.sequence * problem.bias_query_stride;
    }
    return problem.relative_bias + head * problem.bias_entries + problem.bias_entries / 2 - column(row);
  }
  int64_t column(int64_t row) const { return problem.columns ? problem.columns[row] : row - item.key_begin; }
  const float* row_of(const float* x, int64_t row) const { return x + row * problem.row_stride + head * problem.head_dim; }
};

// Rows that this thread is about to read, fetched into the second level cache a few at a time while sums are taken: they lie far
// apart, so that the hardware does not run ahead.
class RowsAhead {
 public:
  // Keys [key, key + keys) of `head`, and its first `queries` queries, in `parts` calls of fetch().
  RowsAhead(const HeadRows& head, int64_t key, int64_t keys, int64_t queries, int64_t parts)
      : head_(head),
        key_(key),
        key_end_(key + keys),
        keys_a_part_((keys + parts - 1) / parts),
        query_end_(queries),
        queries_a_part_((queries + parts - 1) / parts) {}

  // Beside keys up to `behind` of `now`: its next ones, or the first of what comes next; next.item may be nullptr.
  static RowsAhead beside(const HeadRows& now, int64_t behind, const AttentionHead& next, int64_t parts) {
    if (behind < now.item.key_count) return {now, behind, min(kAttentionKeyBlock, now.item.key_count - behind), 0, parts};
    if (!next.item) return {now, 0, 0, 0, 1};
    return {
        {now.problem, *next.item, next.head}, 0, min(kAttentionKeyBlock, next.item->key_count), next.item->query_count, parts};
  }

  void fetch() {
    for (const int64_t end = min(key_end_, key_ + keys_a_part_); key_ < end; ++key_) {
      fetch_row(head_.k(key_));
      fetch_row(head_.v(key_));
    }
    for (const int64_t end = min(query_end_, query_ + queries_a_part_); query_ < end; ++query_) fetch_row(head_.q(query_));
  }

 private:
  void fetch_row(const float* row) const {
    for (int64_t d = 0; d < head_.problem.head_dim; d += 16) prefetch_l2(row + d);
  }

  HeadRows head_;
  int64_t key_, key_end_, keys_a_part_;
  int64_t query_ = 0, query_end_, queries_a_part_;
};

// Calls body(row, rows, panel, panels) for each tile of [rows] by [panels], at most `widest` panels and max_rows(panels) rows of it.
template <typename Body>
BERTIE_INLINE void for_tiles(int64_t rows, int64_t panels, int64_t widest, Body body) {
  for (int64_t panel = 0; panel < panels; panel += widest) {
    const int64_t count = min(widest, panels - panel);
    const int64_t most = max_rows(static_cast<int>(count)), parts = (rows + most - 1) / most;
    int64_t row = 0;
    for (int64_t part = 0; part < parts; ++part) {  // parts differ by one row at most
      const int64_t part_rows = (rows - row) / (parts - part);
      body(row, part_rows, panel, count);
      row += part_rows;
    }
  }
}

// One head of one item, which has keys. `work`: its HeadRows, `width` and `sums` [query][width], and what is done with a block of keys and with
// a tile of queries.
template <typename Work>
BERTIE_INLINE void attend(Work& work, const AttentionHead& next) {
  const AttentionItem& item = work.item;
  const int64_t tiles = (item.query_count + kTileRows - 1) / kTileRows;
  float correction[16];
  for (int64_t key = 0; key < item.key_count; key += kAttentionKeyBlock) {
    const int64_t keys = min(kAttentionKeyBlock, item.key_count - key), behind = key + keys;
    const bool first = key == 0, last = behind == item.key_count;
    work.pack_keys(key, keys);
    work.pack_values(key, keys);
    const int64_t parts =
        max(1, tiles * ((keys + 16 * kScorePanels - 1) / (16 * kScorePanels) + 1));  // turns of fetch(), at least
    RowsAhead ahead = RowsAhead::beside(work, behind, next, parts);
    const auto fetch = [&ahead] { ahead.fetch(); };
    int64_t query = 0;
    for (int64_t t = 0; t < tiles; ++t) {  // tiles differ by one row at most
      const int64_t rows = (item.query_count - query) / (tiles - t);
      work.score(query, rows, keys, fetch);
      if (work.is_biased()) work.add_bias(query, rows, key, keys);
      work.weigh(query, rows, keys, first, correction);
      float* sums = work.sums + (first && last ? 0 : query * work.width);  // a single block's stay in the first-level cache
      work.add_values(rows, keys, sums, first ? nullptr : correction, fetch);
      if (last) work.write(query, rows, sums);
      query += rows;
    }
  }
}

// NOLINTEND(misc-definitions-in-headers)
}  // namespace
}  // namespace bertie::cpu::BERTIE_ISA
