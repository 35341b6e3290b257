// For each block of keys: K is packed into panels of sixteen keys (transposed), V into rows of whole vectors; then for each tile of
// query rows, scores, weights and weighted values go from registers to a few kilobytes of scratch in the first-level cache.
#include "cpu/kernels/attention.h"

#include "cpu/kernels/attention_rows.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

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

// Rows of a tile's left operand lie an odd number of cache lines apart, so that they do not compete for the same cache sets.
constexpr int64_t kStride = kAttentionMaxHeadDim + 16;
static_assert(kAttentionKeyBlock <= kAttentionMaxHeadDim);

struct TileArguments {
  const float* a;  // [rows, depth], rows kStride apart
  int64_t depth;
  const float* b;  // element (k, p): sixteen floats at b + k * depth_stride + p * panel_stride
  int64_t depth_stride, panel_stride;
  float* c;  // [rows, 16 * panels]
  int64_t c_stride;
  const float* correction;  // [rows]: c starts as c * correction; nullptr: as zero
};
using TileFunction = void (*)(const TileArguments& arguments);

template <int rows, int panels>
void tile(const TileArguments& t) {
  Vec16 sums[rows][panels];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p) sums[r][p] = zero();
  if (t.correction) {
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
      for (int p = 0; p < panels; ++p) sums[r][p] = load(t.c + r * t.c_stride + 16 * p) * broadcast(t.correction[r]);
  }
  const float* a = t.a;
  const float* b = t.b;
  const int64_t panel_stride = t.panel_stride, depth_stride = t.depth_stride;
  for (int64_t k = t.depth; k > 0; --k, ++a, b += depth_stride) {
    Vec16 right[panels];
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p) right[p] = load(b + p * panel_stride);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const Vec16 left = broadcast(a[r * kStride]);
#pragma GCC unroll 16
      for (int p = 0; p < panels; ++p) sums[r][p] = fma(left, right[p], sums[r][p]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p) store(t.c + r * t.c_stride + 16 * p, sums[r][p]);
}

struct TileTable {
  TileFunction at[kTileRows + 1][kMaxPanels + 1];
};
template <int rows, int panels>
constexpr void fill(TileTable& table) {
  if constexpr (rows <= max_rows(panels)) table.at[rows][panels] = tile<rows, panels>;
  if constexpr (panels > 1) {
    fill<rows, panels - 1>(table);
  } else if constexpr (rows > 1) {
    fill<rows - 1, kMaxPanels>(table);
  }
}
constexpr TileTable make_tiles() {
  TileTable table{};
  fill<kTileRows, kMaxPanels>(table);
  return table;
}
constexpr TileTable kTiles = make_tiles();

// C over `panels` panels, in tiles of at most `widest` of them; before each, `fetch` has its turn.
template <typename Fetch>
void multiply(const TileArguments& whole, int64_t rows, int64_t panels, int64_t widest, Fetch fetch) {
  for_tiles(rows, panels, widest, max_rows, [&](int64_t row, int64_t tile_rows, int64_t panel, int64_t count) {
    TileArguments t = whole;
    t.a += row * kStride;
    t.b += panel * whole.panel_stride;
    t.c += row * whole.c_stride + 16 * panel;
    if (t.correction) t.correction += row;
    fetch();
    kTiles.at[tile_rows][count](t);
  });
}

// Where each part of a thread's scratch begins, in floats.
struct ScratchPlan {
  explicit ScratchPlan(int64_t head_dim) {
    const auto take = [this](int64_t count) {
      const int64_t begin = end;
      end += round_up_16(count);
      return begin;
    };
    keys = take(kAttentionKeyBlock * head_dim);
    values = take(kAttentionKeyBlock * round_up_16(head_dim));
    queries = take(kTileRows * kStride);
    scores = take(kTileRows * kStride);
    maxima = take(kAttentionQueryBlock + 16);  // a vector of them may end behind the last query
    totals = take(kAttentionQueryBlock * 16);
    sums = take(kAttentionQueryBlock * round_up_16(head_dim));
  }
  int64_t end = 0;
  int64_t keys, values, queries, scores, maxima, totals, sums;
};

struct Work : HeadRows {
  int64_t head_dim, value_width;  // the latter in whole vectors
  // Scratch.
  float* keys;     // [key panel][head_dim][16]
  float* values;   // [key][value_width]
  float* queries;  // [kTileRows, kStride]: scaled
  float* scores;   // [kTileRows, kStride]: then weights
  float* maxima;   // [query]
  float* totals;   // [query][16]
  float* sums;     // [query][value_width]

  Work(const AttentionProblem& p, const AttentionItem& i, int64_t h, float* scratch)
      : HeadRows{p, i, h}, head_dim(p.head_dim), value_width(round_up_16(p.head_dim)) {
    const ScratchPlan plan(head_dim);
    keys = scratch + plan.keys;
    values = scratch + plan.values;
    queries = scratch + plan.queries;
    scores = scratch + plan.scores;
    maxima = scratch + plan.maxima;
    totals = scratch + plan.totals;
    sums = scratch + plan.sums;
  }

  void pack_keys(int64_t begin, int64_t count) const;
  void pack_values(int64_t begin, int64_t count) const;
  void scale_queries(int64_t query, int64_t rows) const;
  void add_bias(int64_t query, int64_t rows, int64_t key_begin, int64_t key_count) const;
  void weigh(int64_t query, int64_t rows, int64_t key_count, bool first, float* correction) const;
  void write(int64_t query, int64_t rows, const float* tile_sums) const;
};

void Work::pack_keys(int64_t begin, int64_t count) const {
  for (int64_t first = 0; first < count; first += 16) {
    const int64_t present = min(16, count - first);
    for (int64_t d = 0; d < head_dim; d += 16) {
      const int64_t depth = min(16, head_dim - d);
      Vec16 square[16];
#pragma GCC unroll 16
      for (int64_t i = 0; i < 16; ++i) {
        square[i] = i < present ? load_up_to_16(k(begin + first + i) + d, depth) : zero();
      }
      transpose(square);
      float* to = keys + (first * head_dim) + d * 16;
      if (depth == 16) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < 16; ++i) store(to + 16 * i, square[i]);
      } else {
        for (int64_t i = 0; i < depth; ++i) store(to + 16 * i, square[i]);
      }
    }
  }
}

void Work::pack_values(int64_t begin, int64_t count) const {
  for (int64_t key = 0; key < count; ++key) {
    const float* from = v(begin + key);
    for (int64_t d = 0; d < head_dim; d += 16) store(values + key * value_width + d, load_up_to_16(from + d, head_dim - d));
  }
}

void Work::scale_queries(int64_t query, int64_t rows) const {
  const Vec16 scale = broadcast(problem.scale);
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = q(query + r);
    for (int64_t d = 0; d < head_dim; d += 16) store(queries + r * kStride + d, load_up_to_16(from + d, head_dim - d) * scale);
  }
}

void Work::add_bias(int64_t query, int64_t rows, int64_t key_begin, int64_t key_count) const {
  const Vec16 log2e = broadcast(1.44269504f);
  for_biases(query, rows, key_begin, key_count, [&](int64_t r, int64_t i, Vec16 bias) {
    float* row = scores + r * kStride + i;
    store(row, fma(bias, log2e, load(row)));
  });
}

// Scores to weights, with the rows' running maxima and totals; correction[r] is what earlier sums are to be multiplied by.
void Work::weigh(int64_t query, int64_t rows, int64_t key_count, bool first, float* correction) const {
  const Vec16 lowest = broadcast(-__builtin_inff());
  const int64_t whole = key_count / 16 * 16, width = round_up_16(key_count);
  float largest[16];
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kStride;
    if (whole < width) store(row + whole, load(row + whole) + load(kAbsent.terms + 16 - (key_count - whole)));
    Vec16 maximum = lowest;
    for (int64_t i = 0; i < width; i += 16) maximum = max(maximum, load(row + i));
    largest[r] = reduce_max(maximum);
  }
  const Vec16 before = first ? lowest : load(maxima + query);
  const Vec16 now = max(before, load_partial(largest, rows));
  store(correction, exp2_negative(before - now));
  store_partial(maxima + query, now, rows);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kStride;
    const Vec16 shift = broadcast(maxima[query + r]);
    Vec16 sum = zero();
    for (int64_t i = 0; i < width; i += 16) {
      const Vec16 weight = exp2_negative(load(row + i) - shift);
      store(row + i, weight);
      sum = sum + weight;
    }
    float* total = totals + (query + r) * 16;
    store(total, first ? sum : fma(load(total), broadcast(correction[r]), sum));
  }
}

void Work::write(int64_t query, int64_t rows, const float* tile_sums) const {
  for (int64_t r = 0; r < rows; ++r) {
    const Vec16 factor = broadcast(1.0f / reduce_add(load(totals + (query + r) * 16)));
    float* const to = out(query + r);
    for (int64_t d = 0; d < head_dim; d += 16) {
      store_up_to_16(to + d, load(tile_sums + r * value_width + d) * factor, head_dim - d);
    }
  }
}

}  // namespace

int64_t attention_scratch_floats(int64_t head_dim) { return ScratchPlan(head_dim).end; }

void attention(const AttentionProblem& problem, const AttentionHead& now, const AttentionHead& next, float* scratch) {
  const Work work(problem, *now.item, now.head, scratch);
  const Work next_work(problem, next.item ? *next.item : *now.item, next.head, scratch);
  const AttentionItem& item = *now.item;
  if (item.key_count == 0) return work.write_zeros();
  const int64_t tiles = (item.query_count + kTileRows - 1) / kTileRows;
  float correction[16];
  for (int64_t key = 0; key < item.key_count; key += kAttentionKeyBlock) {
    const int64_t keys = min(kAttentionKeyBlock, item.key_count - key), behind = key + keys;
    const bool first = key == 0, last = behind == item.key_count;
    work.pack_keys(key, keys);
    work.pack_values(key, keys);
    const int64_t parts =
        max(1, tiles * ((keys + 16 * kScorePanels - 1) / (16 * kScorePanels) + 1));  // turns of fetch(), at least
    RowsAhead ahead = RowsAhead::beside(work, behind, next_work, next.item != nullptr, parts);
    const auto fetch = [&ahead] { ahead.fetch(); };
    int64_t query = 0;
    for (int64_t t = 0; t < tiles; ++t) {  // tiles differ by one row at most
      const int64_t rows = (item.query_count - query) / (tiles - t);
      work.scale_queries(query, rows);
      multiply({work.queries, work.head_dim, work.keys, 16, 16 * work.head_dim, work.scores, kStride, nullptr}, rows,
               (keys + 15) / 16, kScorePanels, fetch);
      if (problem.relative_bias) work.add_bias(query, rows, key, keys);
      work.weigh(query, rows, keys, first, correction);
      float* sums = work.sums + (first && last ? 0 : query * work.value_width);  // a single block's stay in the first-level cache
      multiply({work.scores, keys, work.values, work.value_width, 16, sums, work.value_width, first ? nullptr : correction}, rows,
               work.value_width / 16, kValuePanels, fetch);
      if (last) work.write(query, rows, sums);
      query += rows;
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
