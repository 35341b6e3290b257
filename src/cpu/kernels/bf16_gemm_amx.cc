// AMX: a tile of up to 16 rows of A by 32 k times one of 32 k by 16 columns. Two row tiles by two panels are summed at once, over all of K,
// so that each tile loaded serves two products; then the vectors finish them.
#include "cpu/kernels/amx_tiles.h"
#include "cpu/kernels/bf16_finish.h"
#include "cpu/kernels/bf16_gemm.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

constexpr int64_t kRowsAtOnce = 128;
constexpr int64_t kSumsStride = 2 * kGemmPanel;
constexpr int64_t kTileElements = kTileRows * kBf16DepthStep;
static_assert(kBf16DepthStep * sizeof(uint16_t) == kTileRowBytes);

struct Operands {
  const uint16_t *a, *second_a;  // of the first and the second tile of rows
  int64_t a_stride;
  const uint16_t *lines, *second_lines;
  int64_t steps;  // of 32 k
  float *sums, *second_sums;
  const uint16_t* ahead;  // this tile's share of the panels wanted next; need not exist
  int64_t ahead_lines;    // of 64 bytes, a step
};

template <int row_tiles, int panels>
BERTIE_INLINE void sum_tiles(const Operands& t) {
  _tile_zero(0);
  if constexpr (panels == 2) _tile_zero(1);
  if constexpr (row_tiles == 2) _tile_zero(2);
  if constexpr (row_tiles == 2 && panels == 2) _tile_zero(3);
  const uint16_t *a = t.a, *second_a = t.second_a, *lines = t.lines, *second_lines = t.second_lines, *ahead = t.ahead;
  const int64_t a_bytes = t.a_stride * static_cast<int64_t>(sizeof(uint16_t));
  for (int64_t step = 0; step < t.steps; ++step) {
    _tile_loadd(4, a, a_bytes);
    _tile_loadd(6, lines, kTileRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (row_tiles == 2) {
      _tile_loadd(5, second_a, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
    }
    if constexpr (panels == 2) {
      _tile_loadd(7, second_lines, kTileRowBytes);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (row_tiles == 2) _tile_dpbf16ps(3, 5, 7);
    }
    for (int64_t i = 0; i < t.ahead_lines; ++i, ahead += kBf16DepthStep) prefetch_l2(ahead);
    a += kBf16DepthStep;
    second_a += kBf16DepthStep;
    lines += kTileElements;
    second_lines += kTileElements;
  }
  constexpr int64_t kStride = kSumsStride * static_cast<int64_t>(sizeof(float));
  _tile_stored(0, t.sums, kStride);
  if constexpr (panels == 2) _tile_stored(1, t.sums + kGemmPanel, kStride);
  if constexpr (row_tiles == 2) _tile_stored(2, t.second_sums, kStride);
  if constexpr (row_tiles == 2 && panels == 2) _tile_stored(3, t.second_sums + kGemmPanel, kStride);
  asm volatile("" : : : "memory");  // GCC does not know that the tile instructions write memory
}

}  // namespace

int64_t bf16_gemm_rows_at_once() { return kRowsAtOnce; }
int64_t bf16_gemm_panels_at_once(int64_t) { return 2; }

size_t bf16_gemm_scratch_bytes(int64_t rows, int64_t k) { return static_cast<size_t>(rows * bf16_depth(k)) * sizeof(uint16_t); }

void bf16_gemm(const Bf16GemmProblem& problem, const GemmRange& range, std::byte* scratch) {
  const int64_t rows = range.row_end - range.row_begin, k = problem.weight.k;
  if (rows <= 0) return;
  const int64_t depth = bf16_depth(k), panel_stride = kGemmPanel * depth;
  uint16_t* const a = reinterpret_cast<uint16_t*>(scratch);
  for (int64_t r = 0; r < rows; ++r) {
    bf16_row(problem.a_type, problem.a, (range.row_begin + r) * problem.a_stride, k, depth, a + r * depth);
  }
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows, height = (rows + tiles - 1) / tiles;
  alignas(64) float sums[2 * kTileRows * kSumsStride];
  configure_tiles(height);
  for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += 2) {
    const int64_t panels = min(2, range.panel_end - panel);
    Operands t = {};
    t.a_stride = depth;
    t.steps = depth / kBf16DepthStep;
    t.lines = problem.weight.panels + panel * panel_stride;
    t.second_lines = t.lines + panel_stride;
    t.ahead = t.lines + panels * panel_stride;
    const int64_t turns = (tiles + 1) / 2, lines_ahead = 2 * panel_stride / kBf16DepthStep;
    t.ahead_lines = (lines_ahead + t.steps * turns - 1) / max(1, t.steps * turns);
    for (int64_t tile = 0; tile < tiles; tile += 2) {
      // The last tile of rows ends with the range, and takes some of the rows before again where they do not fill it.
      const int64_t begin = tile * height, first = min(begin, rows - height), second = min(begin + height, rows - height);
      const int64_t end = min(rows, begin + 2 * height);
      t.a = a + first * depth;
      t.second_a = a + second * depth;
      t.sums = sums;
      t.second_sums = sums + (second - first) * kSumsStride;
      if (tile + 1 < tiles) {
        if (panels == 2) {
          sum_tiles<2, 2>(t);
        } else {
          sum_tiles<2, 1>(t);
        }
      } else {
        if (panels == 2) {
          sum_tiles<1, 2>(t);
        } else {
          sum_tiles<1, 1>(t);
        }
      }
      t.ahead += t.ahead_lines * t.steps * kBf16DepthStep;
      with_activation(
          problem.activation, [&](auto function) __attribute__((always_inline)) {
            finish_bf16_tile(problem, range.row_begin + begin, end - begin, panel, panels, sums + (begin - first) * kSumsStride,
                             kSumsStride, function);
          });
    }
  }
  _tile_release();
}

}  // namespace bertie::cpu::BERTIE_ISA
