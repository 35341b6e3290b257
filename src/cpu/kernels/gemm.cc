// For each group of panels, and each block of K, every tile of rows is computed in registers; A is read where it lies. The group's
// block of weights is in the second level cache after the first tile, the rows of A after the first group. What comes from farther
// away is asked for while sums are taken, a little at a time, since a core waits for few cache lines at once
// (docs/performance/gemm.md): the tile's rows of C, and this tile's share of the weights wanted next. Panels of 16 bits are widened in
// registers, exactly, by the first tile, which leaves them in scratch where others follow.
#include "cpu/kernels/gemm.h"

#include "cpu/kernels/activation.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

// A tile of R rows by P panels keeps R * P sums, P panels and one element of A in registers.
#if defined(__AVX512F__)
constexpr int kMaxTileRows = 9;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 8, 8, 7, 6, 5, 4, 3, 3, 3};
#elif defined(__AVX2__)
constexpr int kMaxTileRows = 6;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 6, 3, 2, 1, 1, 1};
#else
constexpr int kMaxTileRows = 2;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 2, 1};
#endif
constexpr int kMaxTilePanels = kPanelsByRows[1];
constexpr int64_t kCacheLine = 64;
constexpr int64_t kMaxRows = 108;  // of one range

struct TileRows {
  const float* a;
  int64_t stride;
};

struct TileWeights {
  const void* panels;
  int64_t stride;     // elements from panel to panel
  const char* ahead;  // this tile's share of those wanted next, in cache lines; need not exist
  int64_t ahead_stride, ahead_lines;
  float* widened;  // where panels of 16 bits are left as floats for the tiles that follow; nullptr where there are none
};

struct TileOutput {
  float* c;
  int64_t stride;
  int64_t columns;    // of the tile that exist: the last panel may be partial
  const float* bias;  // nullptr where this is not the last block of K
  bool accumulate;    // not the first block
};

using TileFunction = void (*)(const TileRows& rows_of_a, const TileWeights& weights, int64_t k, const TileOutput& out);

constexpr int64_t kWidenedStride = kGemmBlockK * kGemmPanel;  // of panels in scratch

template <FloatType type, int rows, int count>
void tile(const TileRows& rows_of_a, const TileWeights& weights, int64_t k, const TileOutput& out) {
  const float* const a = rows_of_a.a;
  const int64_t a_stride = rows_of_a.stride;
  const void* const panels = weights.panels;
  const int64_t panel_stride = weights.stride;
  // A tile that others follow has at least half of the most rows.
  constexpr bool kMayWiden = type != FloatType::f32 && rows >= (kMaxTileRows + 1) / 2;
  float* const widened = weights.widened;
  Vec16 sums[rows][count];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < count; ++p) sums[r][p] = zero();
  const auto step = [&](int64_t i) __attribute__((always_inline)) {
    Vec16 w[count];
#pragma GCC unroll 16
    for (int p = 0; p < count; ++p) w[p] = read_floats<type>(panels, p * panel_stride + i * kGemmPanel, kGemmPanel);
    if constexpr (kMayWiden) {
      if (widened) {
#pragma GCC unroll 16
        for (int p = 0; p < count; ++p) store(widened + p * kWidenedStride + i * kGemmPanel, w[p]);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const Vec16 x = broadcast(a[r * a_stride + i]);
#pragma GCC unroll 16
      for (int p = 0; p < count; ++p) sums[r][p] = fma(x, w[p], sums[r][p]);
    }
  };

  const char* ahead = weights.ahead;
  const int64_t ahead_stride = weights.ahead_stride;
  const float* c_row = out.c;
  const int64_t ahead_lines = (weights.ahead_lines + rows - 1) / rows;
  int64_t i = 0;
  for (int r = 0; r < rows; ++r, c_row += out.stride) {  // a part of K for each row of C to fetch
    const int64_t end = r + 1 < rows ? i + k / rows : k, ahead_end = min(end, i + ahead_lines);
#pragma GCC unroll 16
    for (int p = 0; p < count; ++p) prefetch_for_write(c_row + p * kGemmPanel);
    for (; i < ahead_end; ++i, ahead += kCacheLine) {
#pragma GCC unroll 16
      for (int p = 0; p < count; ++p) prefetch_l2(ahead + p * ahead_stride);
      step(i);
    }
    for (; i < end; ++i) step(i);
  }

#pragma GCC unroll 16
  for (int p = 0; p < count; ++p) {
    const int64_t columns = out.columns - p * kGemmPanel;
    float* c = out.c + p * kGemmPanel;
    if (columns >= kGemmPanel) {
      const Vec16 bias = out.bias ? load(out.bias + p * kGemmPanel) : zero();
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        Vec16 sum = sums[r][p];
        if (out.accumulate) sum = load(c + r * out.stride) + sum;
        store(c + r * out.stride, out.bias ? sum + bias : sum);
      }
    } else if (columns > 0) {
      const Vec16 bias = out.bias ? load_partial(out.bias + p * kGemmPanel, columns) : zero();
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        Vec16 sum = sums[r][p];
        if (out.accumulate) sum = load_partial(c + r * out.stride, columns) + sum;
        store_partial(c + r * out.stride, out.bias ? sum + bias : sum, columns);
      }
    }
  }
}

struct TileTable {
  TileFunction at[kMaxTileRows + 1][kMaxTilePanels + 1];
};
template <FloatType type, int rows, int count>
constexpr void fill(TileTable& table) {
  table.at[rows][count] = tile<type, rows, count>;
  if constexpr (count > 1) {
    fill<type, rows, count - 1>(table);
  } else if constexpr (rows > 1) {
    fill<type, rows - 1, kPanelsByRows[rows - 1]>(table);
  }
}
template <FloatType type>
constexpr TileTable make_tiles() {
  TileTable table{};
  fill<type, kMaxTileRows, kPanelsByRows[kMaxTileRows]>(table);
  return table;
}
constexpr TileTable kTiles = make_tiles<FloatType::f32>(), kF16Tiles = make_tiles<FloatType::f16>(),
                    kBf16Tiles = make_tiles<FloatType::bf16>();

const TileTable& tiles_of(FloatType type) {
  switch (type) {
    case FloatType::f16: return kF16Tiles;
    case FloatType::bf16: return kBf16Tiles;
    default: return kTiles;
  }
}

// activation(c) + residual over `rows` rows of `columns` columns.
template <typename Function>
BERTIE_INLINE void finish_rows(Function activation, float* c, int64_t c_stride, const float* residual, int64_t residual_stride,
                               int64_t rows, int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = c + r * c_stride;
    const float* add = residual ? residual + r * residual_stride : nullptr;
    int64_t i = 0;
    for (; i + 16 <= columns; i += 16) {
      const Vec16 value = activation(load(row + i));
      store(row + i, add ? value + load(add + i) : value);
    }
    if (i < columns) {
      const Vec16 value = activation(load_partial(row + i, columns - i));
      store_partial(row + i, add ? value + load_partial(add + i, columns - i) : value, columns - i);
    }
  }
}

void finish(const GemmProblem& problem, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  float* c = problem.c + row * problem.c_stride + column;
  const float* residual = problem.residual ? problem.residual + row * problem.residual_stride + column : nullptr;
  if (problem.activation == Activation::none && !residual) return;
  with_activation(
      problem.activation, [&](auto activation) __attribute__((always_inline)) {
        finish_rows(activation, c, problem.c_stride, residual, problem.residual_stride, rows, columns);
      });
}

}  // namespace

int64_t gemm_rows_at_once() { return kMaxRows; }
int64_t gemm_ranges_per_thread(int64_t, int64_t) { return kGemmRangesPerThread; }
bool gemm_in_parts() { return false; }
int64_t gemm_panels_at_once(int64_t rows) {
  const int64_t tiles = (rows + kMaxTileRows - 1) / kMaxTileRows;
  return kPanelsByRows[(rows + tiles - 1) / tiles];
}

size_t gemm_scratch_bytes(const GemmProblem& problem) {
  if (problem.panels && problem.weight.type == FloatType::f32) return 0;
  return kMaxTilePanels * kWidenedStride * sizeof(float);
}

void gemm(const GemmProblem& problem, const GemmRange& range, std::byte* scratch) {
  const int64_t rows = range.row_end - range.row_begin;
  const int64_t k = problem.weight.k, n = problem.weight.n;
  const int64_t tiles = (rows + kMaxTileRows - 1) / kMaxTileRows;
  const int64_t group = gemm_panels_at_once(rows);
  const int64_t blocks = max(1, (k + kGemmBlockK - 1) / kGemmBlockK);  // with k = 0 the result is the bias
  const auto* const panels = static_cast<const char*>(problem.panels);
  // A block of panels, where they are packed on the fly, or lie in 16 bits and serve several tiles of rows.
  float* const block_panels = reinterpret_cast<float*>(scratch);
  const int64_t line = kGemmPanel * (problem.weight.type == FloatType::f32 ? 4 : 2);  // bytes of a panel for one k

  for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += group) {
    const int64_t count = min(group, range.panel_end - panel), column = panel * kGemmPanel;
    const int64_t columns = min(count * kGemmPanel, n - column);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t k_begin = block * kGemmBlockK, k_end = min(k, k_begin + kGemmBlockK);
      const bool last = block == blocks - 1;
      const TileTable* table = &kTiles;
      TileWeights weights = {block_panels, kWidenedStride, nullptr, k * line, 0, nullptr};
      const char* next = nullptr;
      const int64_t lines = ((k_end - k_begin) * line + kCacheLine - 1) / kCacheLine;  // of a panel's next block
      if (panels) {
        weights.panels = panels + (panel * k + k_begin) * line;
        weights.stride = k * kGemmPanel;
        next = panels + (last ? (panel + count) * k : panel * k + k_end) * line;
        table = &tiles_of(problem.weight.type);
        if (table != &kTiles && tiles > 1) weights.widened = block_panels;
      } else {
        pack_panels(problem.weight, panel, panel + count, k_begin, k_end, block_panels, kWidenedStride);
      }

      int64_t row = range.row_begin;
      for (int64_t t = 0; t < tiles; ++t) {  // tiles differ by one row at most
        const int64_t tile_rows = (range.row_end - row) / (tiles - t);
        if (next) {
          const int64_t ahead = lines * t / tiles;
          weights.ahead = next + ahead * kCacheLine;
          weights.ahead_lines = lines * (t + 1) / tiles - ahead;
        }
        const TileOutput out = {problem.c + row * problem.c_stride + column, problem.c_stride, columns,
                                last && problem.bias ? problem.bias + column : nullptr, block > 0};
        table->at[tile_rows][count]({problem.a + row * problem.a_stride + k_begin, problem.a_stride}, weights, k_end - k_begin,
                                    out);
        if (weights.widened) {
          weights = {block_panels, kWidenedStride, nullptr, weights.ahead_stride, 0, nullptr};
          table = &kTiles;
        }
        if (last) finish(problem, row, column, tile_rows, columns);
        row += tile_rows;
      }
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
