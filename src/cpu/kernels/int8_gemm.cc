// Rows of A are first brought into scratch in the form that the instruction set multiplies. Then for each group of panels every tile
// of rows is summed over all of K in registers (panels and rows come from the second level cache, which is far faster than the
// sums), and finished at once: C is written a single time. Where panels are to be widened the first tile does so in registers, and leaves
// them in scratch for those that follow. AVX2 without VNNI: int8_gemm_avx2.cc; AMX: int8_gemm_amx.cc.
#include "cpu/kernels/int8_gemm.h"

#include "cpu/kernels/int8_dot.h"
#include "cpu/kernels/int8_finish.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

// A tile of R rows by P panels keeps R * P sums, P lines (or one) and one element of A in registers.
#if defined(__AVX512F__)
constexpr int kMaxTileRows = 9;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 8, 8, 7, 6, 5, 4, 3, 3, 3};
#elif defined(__AVXVNNI__)
constexpr int kMaxTileRows = 6;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 4, 3, 2, 1, 1, 1};
#else
constexpr int kMaxTileRows = 2;
constexpr int kPanelsByRows[kMaxTileRows + 1] = {0, 2, 1};
#endif
constexpr int kMaxTilePanels = kPanelsByRows[1];
static_assert(kMaxTilePanels <= kGemmMaxPanels);

constexpr int64_t kLine = 64;          // bytes of a panel's line
constexpr int64_t kLinesOfBlock = 16;  // 64 k, before they are widened
constexpr int64_t kSumsStride = kMaxTilePanels * kGemmPanel;

struct TileOperands {
  const std::byte* a;
  int64_t a_stride;
  const std::byte* lines;
  int64_t panel_stride;
  int64_t count;          // of lines
  const int32_t* starts;  // [16 * panels]
  std::byte* widened;  // of a direct tile: where others will find the lines, kForms times the stride apart; nullptr: none follows
  // Lines to fetch meanwhile, `ahead_at_once` (one, or as many as panels) a step; need not exist.
  const std::byte* ahead;
  int64_t ahead_at_once, ahead_stride;
  // Rows to fetch: where the tile will be finished, and what is added to it (or the former again).
  const std::byte* c;
  int64_t c_stride, c_panel;  // bytes from row to row, from panel to panel
  const std::byte* residual;
  int64_t residual_stride, residual_panel;
};

using TileFunction = void (*)(const TileOperands& t, int32_t* sums);

template <int rows, int panels>
BERTIE_INLINE void start_sums([[maybe_unused]] const TileOperands& t, Sums (&sums)[rows][panels]) {
#pragma GCC unroll 16
  for (int p = 0; p < panels; ++p) {
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
    const Sums start = load_int(t.starts + p * kGemmPanel);
#else
    const Sums start = {};
#endif
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) sums[r][p] = start;
  }
}

// `direct`: lines are a panel's own, each widened here.
template <int rows, int panels, bool direct>
void tile(const TileOperands& t, int32_t* out) {
  constexpr int kSteps = direct ? kForms : 1;
  // A tile that others follow has at least half of the most rows.
  constexpr bool kMayLeave = direct && rows >= (kMaxTileRows + 1) / 2;
  const std::byte *const a = t.a, *const lines = t.lines;
  const int64_t a_stride = t.a_stride, panel_stride = t.panel_stride;
  [[maybe_unused]] std::byte* const widened = t.widened;
  for (int64_t begin = 0; begin < t.count; begin += kExactLines / kSteps) {
    const int64_t end = min(t.count, begin + kExactLines / kSteps);
    Sums sums[rows][panels];
    start_sums(t, sums);
    const auto multiply = [&](const std::byte* a, auto line) __attribute__((always_inline)) {
      IVec16 w[panels];
#pragma GCC unroll 16
      for (int p = 0; p < panels; ++p) w[p] = line(p);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const IVec16 x = broadcast_bits(a + r * a_stride);
#pragma GCC unroll 16
        for (int p = 0; p < panels; ++p) sums[r][p] = dot(sums[r][p], x, w[p]);
      }
    };
    const auto step = [&](int64_t i) __attribute__((always_inline)) {
      const auto line = [&](int p) __attribute__((always_inline)) { return load_line(lines + p * panel_stride + i * kLine); };
      if constexpr (direct) {
        const int64_t place = i / kLinesOfBlock * kForms * kLinesOfBlock + i % kLinesOfBlock;
        for_each_constant<kForms>([&](auto form) __attribute__((always_inline)) {
          multiply(
              a + (place + form * kLinesOfBlock) * 4, [&](int p) __attribute__((always_inline)) {
                const IVec16 w = widen<form>(line(p));
                if constexpr (kMayLeave) {
                  if (widened) store_line(widened + p * panel_stride * kForms + (place + form * kLinesOfBlock) * kLine, w);
                }
                return w;
              });
        });
      } else {
        multiply(a + i * 4, line);
      }
    };
    int64_t i = begin;
    if (begin == 0) {
      const std::byte *c = t.c, *residual = t.residual;
      for (; i < min(end, rows); ++i, c += t.c_stride, residual += t.residual_stride) {
#pragma GCC unroll 16
        for (int p = 0; p < panels; ++p) {
          prefetch_for_write(c + p * t.c_panel);
          prefetch(residual + p * t.residual_panel);
        }
        step(i);
      }
    }
    if (t.ahead_at_once == 1) {
#pragma GCC unroll 4
      for (; i < end; ++i) {
        prefetch_l2(t.ahead + i * kLine);
        step(i);
      }
    } else {
      const int64_t stride = t.ahead_stride;
      for (; i < end; ++i) {
#pragma GCC unroll 16
        for (int p = 0; p < panels; ++p) prefetch_l2(t.ahead + i * kLine + p * stride);
        step(i);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
      for (int p = 0; p < panels; ++p) {
        int32_t* to = out + r * kSumsStride + p * kGemmPanel;
        const IVec16 sum = to_int(sums[r][p]);
        store_int(to, begin == 0 ? sum : sum + load_int(to));
      }
  }
}

struct TileTable {
  TileFunction at[kMaxTileRows + 1][kMaxTilePanels + 1];
  TileFunction direct[kMaxTileRows + 1][kMaxTilePanels + 1];
};
template <int rows, int count>
constexpr void fill(TileTable& table) {
  table.at[rows][count] = tile<rows, count, false>;
  table.direct[rows][count] = kForms > 1 ? tile<rows, count, (kForms > 1)> : table.at[rows][count];
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

// The forms of one line of A.
BERTIE_INLINE void widen_line(IVec16 bytes, std::byte* to) {
  for_each_constant<kForms>([&](auto form) __attribute__((always_inline)) { store_line(to + form * kLine, widen<form>(bytes)); });
}

// A's rows are an odd number of cache lines apart, so that they do not compete for the same sets of the first-level cache.
int64_t row_bytes(int64_t k) { return (int8_depth(k) / kInt8DepthStep * kForms | 1) * kLine; }

void widen_row_of_a(const int8_t* a, int64_t k, std::byte* to) {
  int64_t i = 0;
  for (; i + kInt8DepthStep <= k; i += kInt8DepthStep, to += kForms * kLine) {
    widen_line(load_line(reinterpret_cast<const std::byte*>(a + i)), to);
  }
  if (i < k) {
    int8_t rest[kInt8DepthStep] = {};
    __builtin_memcpy(rest, a + i, static_cast<size_t>(k - i));
    widen_line(load_line(reinterpret_cast<const std::byte*>(rest)), to);
  }
}

}  // namespace

// Panels that are widened first are to serve many rows.
int64_t int8_gemm_rows_at_once() { return kMaxTileRows * (kForms > 1 ? 24 : 12); }

int64_t int8_gemm_panels_at_once(int64_t rows) {
  const int64_t tiles = max(1, (rows + kMaxTileRows - 1) / kMaxTileRows);
  return kPanelsByRows[(rows + tiles - 1) / tiles];
}

size_t int8_gemm_scratch_bytes(int64_t rows, int64_t k) {
  const int64_t widened = kForms > 1 ? kMaxTilePanels * int8_depth(k) / 4 * kForms * kLine : 0;
  return static_cast<size_t>(rows * row_bytes(k) + widened);
}

int64_t int8_order_length(int64_t) { return 0; }

void int8_order(const int8_t* panels, int64_t count, int64_t k, uint16_t*, int32_t* starts) {
  for (int64_t panel = 0; panel < count; ++panel, starts += kGemmPanel) {
    int32_t sums[kGemmPanel] = {};
    for (int64_t line = 0; line < int8_depth(k) / 4; ++line, panels += 4 * kGemmPanel)
      for (int64_t c = 0; c < kGemmPanel; ++c)
        sums[c] += panels[4 * c] + panels[4 * c + 1] + panels[4 * c + 2] + panels[4 * c + 3];
    for (int64_t c = 0; c < kGemmPanel; ++c) starts[c] = -128 * sums[c];
  }
}

void int8_gemm(const Int8GemmProblem& problem, const GemmRange& range, std::byte* scratch) {
  const int64_t rows = range.row_end - range.row_begin, k = problem.weight.k;
  if (rows <= 0) return;
  const int64_t tiles = (rows + kMaxTileRows - 1) / kMaxTileRows, group = int8_gemm_panels_at_once(rows);
  const int64_t panel_lines = int8_depth(k) / 4, panel_bytes = panel_lines * kLine;
  const int64_t a_stride = row_bytes(k);
  const std::byte* const panels = reinterpret_cast<const std::byte*>(problem.weight.panels);
  for (int64_t r = 0; r < rows; ++r) {
    widen_row_of_a(problem.a + (range.row_begin + r) * problem.a_stride, k, scratch + r * a_stride);
  }
  std::byte* const widened = scratch + rows * a_stride;
  alignas(64) int32_t sums[kMaxTileRows * kSumsStride];
  if (panel_lines == 0) {
    for (int32_t& sum : sums) sum = 0;
  }
  for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += group) {
    const int64_t count = min(group, range.panel_end - panel);
    TileOperands t = {};
    t.a_stride = a_stride;
    t.lines = panels + panel * panel_bytes;
    t.panel_stride = panel_bytes;
    t.count = panel_lines;
    t.starts = problem.weight.starts + panel * kGemmPanel;
    t.widened = kForms > 1 && tiles > 1 ? widened : nullptr;
    t.ahead_at_once = tiles >= count ? 1 : count;
    t.ahead_stride = panel_bytes;
    const int64_t c_element = problem.values ? 1 : sizeof(float);
    t.c_stride = problem.c_stride * c_element;
    t.c_panel = kGemmPanel * c_element;
    const std::byte* const next = t.lines + count * panel_bytes;
    int64_t row = range.row_begin;
    for (int64_t i = 0; i < tiles; ++i) {  // tiles differ by one row at most
      const int64_t tile_rows = (range.row_end - row) / (tiles - i);
      t.a = scratch + (row - range.row_begin) * a_stride;
      t.ahead = next + i % count * panel_bytes;
      const int64_t place = row * problem.c_stride + panel * kGemmPanel;
      t.c = problem.values ? reinterpret_cast<const std::byte*>(problem.values + place)
                           : reinterpret_cast<const std::byte*>(problem.c + place);
      t.residual = t.c;
      t.residual_stride = t.c_stride;
      t.residual_panel = t.c_panel;
      if (problem.residual) {
        t.residual = reinterpret_cast<const std::byte*>(problem.residual + row * problem.residual_stride + panel * kGemmPanel);
        t.residual_stride = problem.residual_stride * static_cast<int64_t>(sizeof(float));
        t.residual_panel = kLine;
      }
      (i == 0 ? kTiles.direct : kTiles.at)[tile_rows][count](t, sums);
      if (i == 0 && kForms > 1) {
        t.lines = widened;
        t.panel_stride *= kForms;
        t.count *= kForms;
      }
      with_activation(
          problem.activation, [&](auto function) __attribute__((always_inline)) {
            finish_tile(problem, row, tile_rows, panel, count, sums, kSumsStride, function);
          });
      row += tile_rows;
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
