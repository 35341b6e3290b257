// AMX: a tile of up to 16 rows of A by 64 k times one of 64 k by 16 columns. Two row tiles by two panels are summed at once, so that
// each tile loaded serves two products. The matrix unit works beside the vector units: between its products the vectors finish
// (scale, bias, activation, residual) the sums before, which is most of the time where the activation is costly.
#include "cpu/kernels/amx_tiles.h"
#include "cpu/kernels/int8_finish.h"
#include "cpu/kernels/int8_gemm.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

constexpr int64_t kSumsStride = 2 * kGemmPanel;
constexpr int64_t kSums = 2 * kTileRows * kSumsStride;

// Sums that the vectors have yet to finish.
struct Unfinished {
  const int32_t* sums;
  int64_t row, rows;
  int64_t panel, panels;
};

template <typename Function>
BERTIE_INLINE void finish_rows(const Int8GemmProblem& problem, Unfinished& left, int64_t rows, Function activation) {
  rows = min(rows, left.rows);
  finish_tile(problem, left.row, rows, left.panel, left.panels, left.sums, kSumsStride, activation);
  left.sums += rows * kSumsStride;
  left.row += rows;
  left.rows -= rows;
}

struct Operands {
  const int8_t *a, *second_a;  // of the first and the second tile of rows
  int64_t a_stride;
  const int8_t* lines;
  int64_t panel_bytes;
  int64_t steps;  // of 64 k
  int32_t *sums, *second_sums;
  const int8_t* ahead;  // this tile's share of the panels wanted next; need not exist
  int64_t ahead_lines;  // a step
};

template <int row_tiles, int panels, typename Function>
BERTIE_INLINE void sum_tiles(const Operands& t, const Int8GemmProblem& problem, Unfinished& before, Function activation) {
  _tile_zero(0);
  if constexpr (panels == 2) _tile_zero(1);
  if constexpr (row_tiles == 2) _tile_zero(2);
  if constexpr (row_tiles == 2 && panels == 2) _tile_zero(3);
  const int8_t *a = t.a, *second_a = t.second_a, *lines = t.lines, *ahead = t.ahead;
  const int64_t rows_at_once = (before.rows + t.steps - 1) / max(1, t.steps);
  for (int64_t step = 0; step < t.steps;
       ++step, a += kTileRowBytes, second_a += kTileRowBytes, lines += kTileRows * kTileRowBytes) {
    _tile_loadd(4, a, t.a_stride);
    _tile_loadd(6, lines, kTileRowBytes);
    _tile_dpbssd(0, 4, 6);
    if constexpr (row_tiles == 2) {
      _tile_loadd(5, second_a, t.a_stride);
      _tile_dpbssd(2, 5, 6);
    }
    if constexpr (panels == 2) {
      _tile_loadd(7, lines + t.panel_bytes, kTileRowBytes);
      _tile_dpbssd(1, 4, 7);
      if constexpr (row_tiles == 2) _tile_dpbssd(3, 5, 7);
    }
    for (int64_t i = 0; i < t.ahead_lines; ++i, ahead += kTileRowBytes) prefetch_l2(ahead);
    finish_rows(problem, before, rows_at_once, activation);
  }
  finish_rows(problem, before, before.rows, activation);
  constexpr int64_t kStride = kSumsStride * static_cast<int64_t>(sizeof(int32_t));
  _tile_stored(0, t.sums, kStride);
  if constexpr (panels == 2) _tile_stored(1, t.sums + kGemmPanel, kStride);
  if constexpr (row_tiles == 2) _tile_stored(2, t.second_sums, kStride);
  if constexpr (row_tiles == 2 && panels == 2) _tile_stored(3, t.second_sums + kGemmPanel, kStride);
}

template <typename Function>
void sum_range(const Int8GemmProblem& problem, const GemmRange& range, const int8_t* a, int64_t a_stride, Function activation) {
  const int64_t rows = range.row_end - range.row_begin, depth = int8_depth(problem.weight.k);
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows, height = (rows + tiles - 1) / tiles;
  alignas(64) int32_t sums[2][kSums];
  Unfinished before = {};
  int turn = 0;
  configure_tiles(height);
  for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += 2) {
    const int64_t panels = min(2, range.panel_end - panel);
    Operands t = {};
    t.a_stride = a_stride;
    t.panel_bytes = kGemmPanel * depth;
    t.steps = depth / kTileRowBytes;
    t.lines = problem.weight.panels + panel * t.panel_bytes;
    t.ahead = t.lines + panels * t.panel_bytes;
    t.ahead_lines = (2 * t.panel_bytes / kTileRowBytes + t.steps * ((tiles + 1) / 2) - 1) / max(1, t.steps * ((tiles + 1) / 2));
    for (int64_t tile = 0; tile < tiles; tile += 2, turn ^= 1) {
      // The last tile of rows ends with the range, and takes some of the rows before again where they do not fill it.
      const int64_t begin = tile * height, first = min(begin, rows - height), second = min(begin + height, rows - height);
      const int64_t end = min(rows, begin + 2 * height);
      t.a = a + first * a_stride;
      t.second_a = a + second * a_stride;
      t.sums = sums[turn];
      t.second_sums = sums[turn] + (second - first) * kSumsStride;
      if (tile + 1 < tiles) {
        if (panels == 2) {
          sum_tiles<2, 2>(t, problem, before, activation);
        } else {
          sum_tiles<2, 1>(t, problem, before, activation);
        }
      } else {
        if (panels == 2) {
          sum_tiles<1, 2>(t, problem, before, activation);
        } else {
          sum_tiles<1, 1>(t, problem, before, activation);
        }
      }
      t.ahead += t.ahead_lines * t.steps * kTileRowBytes;
      before = {sums[turn] + (begin - first) * kSumsStride, range.row_begin + begin, end - begin, panel, panels};
    }
  }
  _tile_release();
  finish_rows(problem, before, before.rows, activation);
}

}  // namespace

int64_t int8_gemm_rows_at_once() { return 256; }
int64_t int8_gemm_panels_at_once(int64_t) { return 2; }

// Rows are read where they lie, unless they end within a tile.
size_t int8_gemm_scratch_bytes(int64_t rows, int64_t k) {
  return k % kInt8DepthStep == 0 ? 0 : static_cast<size_t>(rows * int8_depth(k));
}

void int8_gemm(const Int8GemmProblem& problem, const GemmRange& range, std::byte* scratch) {
  if (range.row_end <= range.row_begin) return;
  const int8_t* a = problem.a + range.row_begin * problem.a_stride;
  int64_t a_stride = problem.a_stride;
  if (const int64_t k = problem.weight.k; k % kInt8DepthStep != 0) {
    int8_t* to = reinterpret_cast<int8_t*>(scratch);
    for (int64_t row = range.row_begin; row < range.row_end; ++row, to += int8_depth(k)) {
      __builtin_memcpy(to, problem.a + row * problem.a_stride, static_cast<size_t>(k));
      __builtin_memset(to + k, 0, static_cast<size_t>(int8_depth(k) - k));
    }
    a = reinterpret_cast<const int8_t*>(scratch);
    a_stride = int8_depth(k);
  }
  with_activation(
      problem.activation, [&](auto function)
                              __attribute__((always_inline)) { sum_range(problem, range, a, a_stride, function); });
}

}  // namespace bertie::cpu::BERTIE_ISA
