// For each block of keys: K is packed into panels of sixteen keys (transposed), V into rows of whole vectors; then for each tile of
// query rows, scores, weights and weighted values go from registers to a few kilobytes of scratch in the first-level cache.
#include "cpu/kernels/attention.h"

#include "cpu/kernels/attention_rows.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

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

constexpr auto kTiles = tiles_of<TileFunction>([]<int rows, int panels>() -> TileFunction { return tile<rows, panels>; });

// C over `panels` panels, in tiles of at most `widest` of them; before each, `fetch` has its turn.
template <typename Fetch>
void multiply(const TileArguments& whole, int64_t rows, int64_t panels, int64_t widest, Fetch fetch) {
  for_tiles(rows, panels, widest, [&](int64_t row, int64_t tile_rows, int64_t panel, int64_t count) {
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
  int64_t head_dim, width;  // the latter in whole vectors
  // Scratch.
  float* keys;     // [key panel][head_dim][16]
  float* values;   // [key][width]
  float* queries;  // [kTileRows, kStride]: scaled
  float* scores;   // [kTileRows, kStride]: then weights
  float* maxima;   // [query]
  float* totals;   // [query][16]
  float* sums;     // [query][width]

  Work(const AttentionProblem& p, const AttentionItem& i, int64_t h, float* scratch)
      : HeadRows{p, i, h}, head_dim(p.head_dim), width(round_up_16(p.head_dim)) {
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
  template <typename Fetch>
  void score(int64_t query, int64_t rows, int64_t key_count, Fetch fetch) const {
    scale_queries(query, rows);
    multiply({queries, head_dim, keys, 16, 16 * head_dim, scores, kStride, nullptr}, rows, (key_count + 15) / 16, kScorePanels,
             fetch);
  }
  void add_bias(int64_t query, int64_t rows, int64_t key_begin, int64_t key_count) const;
  void weigh(int64_t query, int64_t rows, int64_t key_count, bool first, float* correction) const;
  template <typename Fetch>
  void add_values(int64_t rows, int64_t key_count, float* tile_sums, const float* correction, Fetch fetch) const {
    multiply({scores, key_count, values, width, 16, tile_sums, width, correction}, rows, width / 16, kValuePanels, fetch);
  }
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
    for (int64_t d = 0; d < head_dim; d += 16) store(values + key * width + d, load_up_to_16(from + d, head_dim - d));
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
  const int64_t whole = key_count / 16 * 16, end = round_up_16(key_count);
  float largest[16];
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kStride;
    if (whole < end) store(row + whole, load(row + whole) + load(kAbsent.terms + 16 - (key_count - whole)));
    Vec16 maximum = lowest;
    for (int64_t i = 0; i < end; i += 16) maximum = max(maximum, load(row + i));
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
    for (int64_t i = 0; i < end; i += 16) {
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
      store_up_to_16(to + d, load(tile_sums + r * width + d) * factor, head_dim - d);
    }
  }
}

}  // namespace

int64_t attention_scratch_floats(int64_t head_dim) { return ScratchPlan(head_dim).end; }

void attention(const AttentionProblem& problem, const AttentionHead& now, const AttentionHead& next, float* scratch) {
  Work work(problem, *now.item, now.head, scratch);
  if (now.item->key_count == 0) return work.write_zeros();
  attend(work, next);
}

}  // namespace bertie::cpu::BERTIE_ISA
