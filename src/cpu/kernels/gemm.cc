// For each block of K: the range's rows of A are copied to scratch, where a tile's rows lie at a fixed distance and stay in the first
// level cache; then for each group of panels (from the second level, after its first use) every tile of rows is computed in registers.
#include "cpu/kernels/gemm.h"

#include "cpu/kernels/math.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

// A tile of R rows by P panels keeps R * P sums, P panels and one element of A in registers.
#if defined(__AVX512F__)
constexpr int kMaxTileRows = 14;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 8, 8, 7, 6, 5, 4, 3, 3, 3, 2, 2, 2, 2, 2};
#elif defined(__AVX2__)
constexpr int kMaxTileRows = 6;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 6, 3, 2, 1, 1, 1};
#else
constexpr int kMaxTileRows = 2;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 2, 1};
#endif
constexpr int kMaxTilePanels = kPanelsByRows[1];
static_assert(kMaxTilePanels <= kGemmMaxPanels);

struct TileOutput {
  float* c;
  int64_t stride;
  int64_t columns;    // of the tile that exist: the last panel may be partial
  const float* bias;  // nullptr where this is not the last block of K
  bool accumulate;    // not the first block
};

using TileFunction = void (*)(const float* a, const float* panels, int64_t panel_stride, int64_t k, const TileOutput& out);

template <int rows, int count>
void tile(const float* a, const float* panels, int64_t panel_stride, int64_t k, const TileOutput& out) {
  Vec16 sums[rows][count];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < count; ++p) sums[r][p] = zero();

  for (int64_t i = 0; i < k; ++i) {
    Vec16 w[count];
#pragma GCC unroll 16
    for (int p = 0; p < count; ++p) w[p] = load(panels + p * panel_stride + i * kGemmPanel);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const Vec16 x = broadcast(a[r * kGemmScratchStride + i]);
#pragma GCC unroll 16
      for (int p = 0; p < count; ++p) sums[r][p] = fma(x, w[p], sums[r][p]);
    }
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
template <int rows, int count>
constexpr void fill(TileTable& table) {
  table.at[rows][count] = tile<rows, count>;
  if constexpr (count > 1) {
    fill<rows, count - 1>(table);
  } else if constexpr (rows > 1) {
    fill<rows - 1, kPanelsByRows[rows - 1]>(table);
  }
}
constexpr TileTable make_tiles() {
  TileTable table{};
  fill<kMaxTileRows, kPanelsByRows[kMaxTileRows]>(table);
  return table;
}
constexpr TileTable kTiles = make_tiles();

// activation(c) + residual over `rows` rows of `columns` columns.
template <typename Function>
BERTIE_INLINE void finish_rows(Function activation, float* c, int64_t c_stride, const float* residual, int64_t residual_stride, int64_t rows,
                               int64_t columns) {
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
  const auto apply = [&](auto activation) __attribute__((always_inline)) {
    finish_rows(activation, c, problem.c_stride, residual, problem.residual_stride, rows, columns);
  };
  switch (problem.activation) {
    case Activation::none:
      if (residual) apply([](Vec16 x) { return x; });
      break;
    case Activation::gelu: apply([](Vec16 x) { return gelu_erf(x); }); break;
    case Activation::gelu_tanh: apply([](Vec16 x) { return gelu_tanh(x); }); break;
    case Activation::relu: apply([](Vec16 x) { return relu(x); }); break;
    case Activation::silu: apply([](Vec16 x) { return silu(x); }); break;
    case Activation::tanh: apply([](Vec16 x) { return tanh(x); }); break;
  }
}

void copy_rows(const float* a, int64_t stride, int64_t rows, int64_t columns, float* to) {
  for (int64_t r = 0; r < rows; ++r, a += stride, to += kGemmScratchStride) {
    int64_t i = 0;
    for (; i + 16 <= columns; i += 16) store(to + i, load(a + i));
    for (; i < columns; ++i) to[i] = a[i];
  }
}

}  // namespace

int64_t gemm_panels_at_once(int64_t rows) {
  const int64_t tiles = (rows + kMaxTileRows - 1) / kMaxTileRows;
  return kPanelsByRows[(rows + tiles - 1) / tiles];
}

void gemm(const GemmProblem& problem, const GemmRange& range, float* scratch) {
  const int64_t rows = range.row_end - range.row_begin;
  const int64_t k = problem.weight.k, n = problem.weight.n;
  const int64_t tiles = (rows + kMaxTileRows - 1) / kMaxTileRows;
  const int64_t group = gemm_panels_at_once(rows);
  float* const a_block = scratch;
  float* const panel_block = scratch + kGemmMaxRows * kGemmScratchStride;

  int64_t k_begin = 0;
  do {  // at least once: with k = 0 the result is the bias
    const int64_t k_end = min(k, k_begin + kGemmBlockK), depth = k_end - k_begin;
    const bool last = k_end == k;
    copy_rows(problem.a + range.row_begin * problem.a_stride + k_begin, problem.a_stride, rows, depth, a_block);

    for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += group) {
      const int64_t count = min(group, range.panel_end - panel), column = panel * kGemmPanel;
      const float* panels;
      int64_t panel_stride;
      if (problem.panels) {
        panels = problem.panels + (panel * k + k_begin) * kGemmPanel;
        panel_stride = k * kGemmPanel;
      } else {
        panels = panel_block;
        panel_stride = kGemmBlockK * kGemmPanel;
        pack_panels(problem.weight, panel, panel + count, k_begin, k_end, panel_block, panel_stride);
      }

      int64_t row = 0;
      for (int64_t t = 0; t < tiles; ++t) {  // tiles differ by one row at most
        const int64_t tile_rows = (rows - row) / (tiles - t);
        const int64_t columns = min(count * kGemmPanel, n - column);
        TileOutput out = {problem.c + (range.row_begin + row) * problem.c_stride + column, problem.c_stride, columns,
                          last && problem.bias ? problem.bias + column : nullptr, k_begin > 0};
        kTiles.at[tile_rows][count](a_block + row * kGemmScratchStride, panels, panel_stride, depth, out);
        if (last) finish(problem, range.row_begin + row, column, tile_rows, columns);
        row += tile_rows;
      }
    }
    k_begin = k_end;
  } while (k_begin < k);
}

}  // namespace bertie::cpu::BERTIE_ISA
