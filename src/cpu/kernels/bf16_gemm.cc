// VDPBF16PS: two k a step. Rows of A are first brought into scratch as bfloat16. Then for each group of panels, and each block of K, every
// tile of rows is summed in registers, from where the block before left its sums, and finished behind the last block: C is written a
// single time. What comes from farther away is asked for meanwhile, as in kernels/gemm.cc. AMX: kernels/bf16_gemm_amx.cc.
#include "cpu/kernels/bf16_gemm.h"

#include "cpu/kernels/bf16_finish.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

// A tile of R rows by P panels keeps R * P sums, P lines and one pair of A in registers.
constexpr int kMaxTileRows = 9;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 8, 8, 7, 6, 5, 4, 3, 3, 3};
constexpr int kMaxTilePanels = kPanelsByRows[1];
static_assert(kMaxTilePanels <= kGemmMaxPanels);

constexpr int64_t kRowsAtOnce = 12 * kMaxTileRows;
constexpr int64_t kBlockSteps = 384;       // of K, two each: a panel's block takes 24 KB, as in kernels/gemm.cc
constexpr int64_t kLine = 2 * kGemmPanel;  // elements of a panel for one step

struct TileOperands {
  const uint16_t* a;
  int64_t a_stride;
  const uint16_t* lines;
  int64_t panel_stride;
  int64_t steps;
  bool first;  // block of K
  float* sums;
  int64_t sums_stride;
  const uint16_t* ahead;  // this tile's share of the weights wanted next, at the same stride; need not exist
  int64_t ahead_steps;
};

using TileFunction = void (*)(const TileOperands& t);

template <int rows, int panels>
void tile(const TileOperands& t) {
  const uint16_t *const a = t.a, *const lines = t.lines, *const ahead = t.ahead;
  const int64_t a_stride = t.a_stride, panel_stride = t.panel_stride;
  __m512 sums[rows][panels];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p)
      sums[r][p] = t.first ? _mm512_setzero_ps() : _mm512_loadu_ps(t.sums + r * t.sums_stride + p * kGemmPanel);
  const auto step = [&](int64_t i) __attribute__((always_inline)) {
    __m512i w[panels];
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p) w[p] = _mm512_loadu_si512(lines + p * panel_stride + i * kLine);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      int32_t pair;
      __builtin_memcpy(&pair, a + r * a_stride + 2 * i, sizeof pair);
      const auto x = __builtin_bit_cast(__m512bh, _mm512_set1_epi32(pair));
#pragma GCC unroll 16
      for (int p = 0; p < panels; ++p) sums[r][p] = _mm512_dpbf16_ps(sums[r][p], __builtin_bit_cast(__m512bh, w[p]), x);
    }
  };
  int64_t i = 0;
  for (const int64_t end = min(t.steps, t.ahead_steps); i < end; ++i) {
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p) prefetch_l2(ahead + p * panel_stride + i * kLine);
    step(i);
  }
#pragma GCC unroll 2
  for (; i < t.steps; ++i) step(i);
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p) _mm512_storeu_ps(t.sums + r * t.sums_stride + p * kGemmPanel, sums[r][p]);
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

// Elements. A's rows are an odd number of cache lines apart, so that they do not compete for the same sets of the first-level cache.
int64_t row_stride(int64_t k) { return (bf16_depth(k) / kBf16DepthStep | 1) * kBf16DepthStep; }

}  // namespace

int64_t bf16_gemm_rows_at_once() { return kRowsAtOnce; }

int64_t bf16_gemm_panels_at_once(int64_t rows) {
  const int64_t tiles = max(1, (rows + kMaxTileRows - 1) / kMaxTileRows);
  return kPanelsByRows[(rows + tiles - 1) / tiles];
}

size_t bf16_gemm_scratch_bytes(int64_t rows, int64_t k) {
  const int64_t sums = max(rows * kPanelsByRows[kMaxTileRows], kMaxTileRows * kMaxTilePanels) * kGemmPanel;
  return static_cast<size_t>(rows * row_stride(k)) * sizeof(uint16_t) + static_cast<size_t>(sums) * sizeof(float);
}

void bf16_gemm(const Bf16GemmProblem& problem, const GemmRange& range, std::byte* scratch) {
  const int64_t rows = range.row_end - range.row_begin, k = problem.weight.k;
  if (rows <= 0) return;
  const int64_t tiles = (rows + kMaxTileRows - 1) / kMaxTileRows, group = bf16_gemm_panels_at_once(rows);
  const int64_t depth = bf16_depth(k), steps = depth / 2, panel_stride = kGemmPanel * depth, a_stride = row_stride(k);
  const int64_t blocks = max(1, (steps + kBlockSteps - 1) / kBlockSteps);
  uint16_t* const a = reinterpret_cast<uint16_t*>(scratch);
  float* const sums = reinterpret_cast<float*>(a + rows * a_stride);
  for (int64_t r = 0; r < rows; ++r) {
    bf16_row(problem.a_type, problem.a, (range.row_begin + r) * problem.a_stride, k, depth, a + r * a_stride);
  }
  for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += group) {
    const int64_t count = min(group, range.panel_end - panel);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t begin = block * kBlockSteps, end = min(steps, begin + kBlockSteps);
      const bool last = block == blocks - 1;
      TileOperands t = {};
      t.a_stride = a_stride;
      t.lines = problem.weight.panels + panel * panel_stride + begin * kLine;
      t.panel_stride = panel_stride;
      t.steps = end - begin;
      t.first = block == 0;
      t.sums_stride = count * kGemmPanel;
      const uint16_t* const next = last ? problem.weight.panels + (panel + count) * panel_stride : t.lines + kBlockSteps * kLine;
      int64_t row = 0;
      for (int64_t i = 0; i < tiles; ++i) {  // tiles differ by one row at most
        const int64_t tile_rows = (rows - row) / (tiles - i), ahead = t.steps * i / tiles;
        t.a = a + row * a_stride + 2 * begin;
        t.sums = sums + (blocks > 1 ? row * t.sums_stride : 0);
        t.ahead = next + ahead * kLine;
        t.ahead_steps = t.steps * (i + 1) / tiles - ahead;
        kTiles.at[tile_rows][count](t);
        if (last) {
          with_activation(
              problem.activation, [&](auto function) __attribute__((always_inline)) {
                finish_bf16_tile(problem, range.row_begin + row, tile_rows, panel, count, t.sums, t.sums_stride, function);
              });
        }
        row += tile_rows;
      }
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
