// For each block of keys: K is packed into panels of sixteen keys (transposed), V into rows of whole vectors; then for each tile of
// query rows, scores, weights and weighted values go from registers to a few kilobytes of scratch in the first-level cache.
#include "cpu/kernels/attention.h"

#include "cpu/kernels/float_type.h"
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

constexpr int64_t round_up_16(int64_t n) { return (n + 15) / 16 * 16; }

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
void multiply(TileArguments t, int64_t rows, int64_t panels, int64_t widest, Fetch fetch) {
  const TileArguments whole = t;
  for (int64_t panel = 0; panel < panels; panel += widest) {
    const int64_t count = min(widest, panels - panel);
    const int64_t parts = (rows + max_rows(static_cast<int>(count)) - 1) / max_rows(static_cast<int>(count));
    int64_t row = 0;
    for (int64_t part = 0; part < parts; ++part) {  // parts differ by one row at most
      const int64_t part_rows = (rows - row) / (parts - part);
      t.a = whole.a + row * kStride;
      t.b = whole.b + panel * whole.panel_stride;
      t.c = whole.c + row * whole.c_stride + 16 * panel;
      t.correction = whole.correction ? whole.correction + row : nullptr;
      fetch();
      kTiles.at[part_rows][count](t);
      row += part_rows;
    }
  }
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

// One head of one item.
struct Work {
  const AttentionProblem& problem;
  const AttentionItem& item;
  int64_t head;
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
      : problem(p), item(i), head(h), head_dim(p.head_dim), value_width(round_up_16(p.head_dim)) {
    const ScratchPlan plan(head_dim);
    keys = scratch + plan.keys;
    values = scratch + plan.values;
    queries = scratch + plan.queries;
    scores = scratch + plan.scores;
    maxima = scratch + plan.maxima;
    totals = scratch + plan.totals;
    sums = scratch + plan.sums;
  }

  int64_t key_row(int64_t key) const { return problem.key_rows ? problem.key_rows[item.key_begin + key] : item.key_begin + key; }
  int64_t query_row(int64_t query) const {
    return problem.query_rows ? problem.query_rows[item.query_begin + query] : item.query_begin + query;
  }
  int64_t column(int64_t row) const { return problem.columns ? problem.columns[row] : row - item.key_begin; }
  const float* row_of(const float* x, int64_t row) const { return x + row * problem.row_stride + head * head_dim; }

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
        square[i] = i < present ? load_up_to_16(row_of(problem.k, key_row(begin + first + i)) + d, depth) : zero();
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
    const float* from = row_of(problem.v, key_row(begin + key));
    for (int64_t d = 0; d < head_dim; d += 16) store(values + key * value_width + d, load_up_to_16(from + d, head_dim - d));
  }
}

void Work::scale_queries(int64_t query, int64_t rows) const {
  const Vec16 scale = broadcast(problem.scale);
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = row_of(problem.q, query_row(query + r));
    for (int64_t d = 0; d < head_dim; d += 16) store(queries + r * kStride + d, load_up_to_16(from + d, head_dim - d) * scale);
  }
}

void Work::add_bias(int64_t query, int64_t rows, int64_t key_begin, int64_t key_count) const {
  const Vec16 log2e = broadcast(1.44269504f);
  const bool contiguous = !problem.columns && !problem.key_rows;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t middle = head * problem.bias_entries + problem.bias_entries / 2;
    const float* bias = problem.relative_bias + middle - column(query_row(query + r));
    float* row = scores + r * kStride;
    for (int64_t i = 0; i < key_count; i += 16) {
      const int64_t count = min(16, key_count - i);
      Vec16 term;
      if (contiguous) {
        term = load_up_to_16(bias + key_begin + i, count);
      } else {
        float lanes[16] = {};
        for (int64_t lane = 0; lane < count; ++lane) lanes[lane] = bias[column(key_row(key_begin + i + lane))];
        term = load(lanes);
      }
      store(row + i, fma(term, log2e, load(row + i)));
    }
  }
}

// Added to the last vector of scores: keys that are not there weigh nothing.
struct AbsentKeys {
  alignas(64) float terms[32] = {};  // sixteen zeros, then minus infinities
  constexpr AbsentKeys() {
    for (int i = 16; i < 32; ++i) terms[i] = -__builtin_inff();
  }
};
constexpr AbsentKeys kAbsent;

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
    float* out = problem.out + ((item.query_begin + query + r - problem.first_out_query) * problem.heads + head) * head_dim;
    for (int64_t d = 0; d < head_dim; d += 16) {
      store_up_to_16(out + d, load(tile_sums + r * value_width + d) * factor, head_dim - d);
    }
  }
}

void write_zeros(const Work& work) {
  for (int64_t query = 0; query < work.item.query_count; ++query) {
    float* out =
        work.problem.out +
        ((work.item.query_begin + query - work.problem.first_out_query) * work.problem.heads + work.head) * work.head_dim;
    for (int64_t d = 0; d < work.head_dim; ++d) out[d] = 0;
  }
}

// Rows that this thread is about to read, fetched into the second level cache a few at a time while sums are taken: they lie far
// apart, so that the hardware does not run ahead.
class RowsAhead {
 public:
  // Keys [key, key + keys) of `work`, and its first `queries` queries, in `parts` calls of fetch().
  RowsAhead(const Work& work, int64_t key, int64_t keys, int64_t queries, int64_t parts)
      : work_(work),
        key_(key),
        key_end_(key + keys),
        keys_a_part_((keys + parts - 1) / parts),
        query_end_(queries),
        queries_a_part_((queries + parts - 1) / parts) {}

  void fetch() {
    for (const int64_t end = min(key_end_, key_ + keys_a_part_); key_ < end; ++key_) {
      const int64_t row = work_.key_row(key_);
      fetch_row(work_.row_of(work_.problem.k, row));
      fetch_row(work_.row_of(work_.problem.v, row));
    }
    for (const int64_t end = min(query_end_, query_ + queries_a_part_); query_ < end; ++query_) {
      fetch_row(work_.row_of(work_.problem.q, work_.query_row(query_)));
    }
  }

 private:
  void fetch_row(const float* row) const {
    for (int64_t d = 0; d < work_.head_dim; d += 16) prefetch_l2(row + d);
  }

  const Work& work_;
  int64_t key_, key_end_, keys_a_part_;
  int64_t query_ = 0, query_end_, queries_a_part_;
};

}  // namespace

int64_t attention_scratch_floats(int64_t head_dim) { return ScratchPlan(head_dim).end; }

void attention(const AttentionProblem& problem, const AttentionHead& now, const AttentionHead& next, float* scratch) {
  const Work work(problem, *now.item, now.head, scratch);
  const Work next_work(problem, next.item ? *next.item : *now.item, next.head, scratch);
  const AttentionItem& item = *now.item;
  if (item.key_count == 0) return write_zeros(work);
  const int64_t tiles = (item.query_count + kTileRows - 1) / kTileRows;
  float correction[16];
  for (int64_t key = 0; key < item.key_count; key += kAttentionKeyBlock) {
    const int64_t keys = min(kAttentionKeyBlock, item.key_count - key), behind = key + keys;
    const bool first = key == 0, last = behind == item.key_count;
    work.pack_keys(key, keys);
    work.pack_values(key, keys);
    const int64_t parts =
        max(1, tiles * ((keys + 16 * kScorePanels - 1) / (16 * kScorePanels) + 1));  // turns of fetch(), at least
    RowsAhead ahead = !last ? RowsAhead(work, behind, min(kAttentionKeyBlock, item.key_count - behind), 0, parts)
                      : next.item
                          ? RowsAhead(next_work, 0, min(kAttentionKeyBlock, next.item->key_count), next.item->query_count, parts)
                          : RowsAhead(work, 0, 0, 0, 1);
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
