// AMX: float32 from products of bfloat16. A float is the exact sum of three of them, x = x1 + x2 + x3, eight bits of its significand each; of
// the nine products of two floats the six largest are taken (gemm.h states their order). Rows of A are split once a block of K; weights as
// they are needed, between the products of those before, where the vectors are idle: for a few rows one step of K ahead, so that parts
// stay in the first cache; for more, all of the next panels' block. What is not finite is summed again by multiply-adds, since a float that
// is not finite has no such parts.
#include "cpu/kernels/activation.h"
#include "cpu/kernels/amx_tiles.h"
#include "cpu/kernels/bf16_parts.h"
#include "cpu/kernels/gemm.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

constexpr int64_t kRowsAtOnce = 128;
constexpr int64_t kSumsStride = kMaxGroup * kGemmPanel;

// Tiles of rows, of one block of K each, that scratch holds; and whether those of a range are all there are of them, for the next range
// of the same rows.
constexpr int64_t kRowTiles = 2 * kRowsAtOnce / kTileRows;
constexpr bool keeps_rows(int64_t rows, int64_t k) {
  return (rows + kTileRows - 1) / kTileRows * ((k + kGemmBlockK - 1) / kGemmBlockK) <= kRowTiles;
}
struct RowsInParts {
  uint64_t run;  // 0: not kept
  const float* a;
  int64_t row_begin, row_end;
};
constexpr size_t kHeaderBytes = 64;
static_assert(sizeof(RowsInParts) <= kHeaderBytes);

struct Operands {
  const uint16_t* a;  // of the first tile of rows; the second follows
  int64_t steps;
  int64_t first_step;  // of all that the walk came by
  float* sums;
  int64_t turns;  // that take the same weights
};

// Two tiles of rows by up to two panels. Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 weights.
template <int panels, int a_part, int w_part, bool load_a, bool load_w>
BERTIE_INLINE void multiply_two(const uint16_t* a, const uint16_t* w) {
  if constexpr (load_a) {
    _tile_loadd(4, a + (a_part - 1) * kTileElements, kTileRowBytes);
    _tile_loadd(5, a + (a_part - 1) * kTileElements + kRowTileElements, kTileRowBytes);
  }
  if constexpr (load_w) {
    _tile_loadd(6, w + (w_part - 1) * kTileElements, kTileRowBytes);
    if constexpr (panels == 2) _tile_loadd(7, w + (w_part - 1) * kTileElements + kStepElements, kTileRowBytes);
  }
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(2, 5, 6);
  if constexpr (panels == 2) {
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
}

// One tile of rows, all parts of it in tiles 3 to 5, by up to three panels. (GCC wants tiles by their numbers.)
template <int panels, int a_part, int w_part>
BERTIE_INLINE void multiply_one(const uint16_t* w) {
  const uint16_t* const tile = w + (w_part - 1) * kTileElements;
  _tile_loadd(6, tile, kTileRowBytes);
  if constexpr (a_part == 1) _tile_dpbf16ps(0, 3, 6);
  if constexpr (a_part == 2) _tile_dpbf16ps(0, 4, 6);
  if constexpr (a_part == 3) _tile_dpbf16ps(0, 5, 6);
  if constexpr (panels > 1) {
    _tile_loadd(7, tile + kStepElements, kTileRowBytes);
    if constexpr (a_part == 1) _tile_dpbf16ps(1, 3, 7);
    if constexpr (a_part == 2) _tile_dpbf16ps(1, 4, 7);
    if constexpr (a_part == 3) _tile_dpbf16ps(1, 5, 7);
  }
  if constexpr (panels > 2) {
    _tile_loadd(6, tile + 2 * kStepElements, kTileRowBytes);
    if constexpr (a_part == 1) _tile_dpbf16ps(2, 3, 6);
    if constexpr (a_part == 2) _tile_dpbf16ps(2, 4, 6);
    if constexpr (a_part == 3) _tile_dpbf16ps(2, 5, 6);
  }
}

// The products of one block of K into `sums`, rows kSumsStride floats apart, the second tile's kTileRows rows after the first's.
template <FloatType type, int row_tiles, int panels>
void sum_tiles(const Operands& t, WeightWalk<type>& walk) {
  _tile_zero(0);
  if constexpr (panels > 1) _tile_zero(1);
  if constexpr (panels > 2 || row_tiles == 2) _tile_zero(2);
  if constexpr (panels == 2 && row_tiles == 2) _tile_zero(3);
  const uint16_t* a = t.a;
  for (int64_t step = 0; step < t.steps; ++step, a += kStepElements) {
    const uint16_t* const w = walk.slot(t.first_step + step);
    int64_t left = walk.pairs_a_step(t.turns);
    const int64_t share = (left + products_of(type) - 1) / products_of(type);
    const auto split = [&]() __attribute__((always_inline)) {
      walk.advance(min(share, left));
      left -= share;
    };
    if constexpr (row_tiles == 2) {
      constexpr bool kAll = parts_of(type) == 3, kSome = parts_of(type) == 2, kOne = parts_of(type) == 1;
      if constexpr (kAll) multiply_two<panels, 1, 3, true, true>(a, w), split();
      if constexpr (!kOne) multiply_two<panels, 1, 2, kSome, true>(a, w), split();
      if constexpr (!kOne) multiply_two<panels, 2, 2, true, false>(a, w), split();
      multiply_two<panels, 2, 1, kOne, true>(a, w), split();
      multiply_two<panels, 3, 1, true, false>(a, w), split();
      multiply_two<panels, 1, 1, true, false>(a, w), split();
    } else {
      _tile_loadd(3, a, kTileRowBytes);
      _tile_loadd(4, a + kTileElements, kTileRowBytes);
      _tile_loadd(5, a + 2 * kTileElements, kTileRowBytes);
      if constexpr (parts_of(type) > 2) multiply_one<panels, 1, 3>(w), split();
      if constexpr (parts_of(type) > 1) multiply_one<panels, 1, 2>(w), split();
      if constexpr (parts_of(type) > 1) multiply_one<panels, 2, 2>(w), split();
      multiply_one<panels, 2, 1>(w), split();
      multiply_one<panels, 3, 1>(w), split();
      multiply_one<panels, 1, 1>(w), split();
    }
    asm volatile("" : : : "memory");  // GCC does not know that tiles are loaded from memory: what was split is to be there
  }
  constexpr int64_t kStride = kSumsStride * static_cast<int64_t>(sizeof(float)), kSecond = kTileRows * kSumsStride;
  _tile_stored(0, t.sums, kStride);
  if constexpr (panels > 1) _tile_stored(1, t.sums + kGemmPanel, kStride);
  if constexpr (row_tiles == 2) {
    _tile_stored(2, t.sums + kSecond, kStride);
    if constexpr (panels > 1) _tile_stored(3, t.sums + kSecond + kGemmPanel, kStride);
  } else if constexpr (panels > 2) {
    _tile_stored(2, t.sums + 2 * kGemmPanel, kStride);
  }
  asm volatile("" : : : "memory");  // nor that they are written to memory
}

template <FloatType type>
constexpr void (*kSumTiles[2][kMaxGroup])(const Operands&, WeightWalk<type>&) = {
    {sum_tiles<type, 1, 1>, sum_tiles<type, 1, 2>, sum_tiles<type, 1, 3>},
    {sum_tiles<type, 2, 1>, sum_tiles<type, 2, 2>, nullptr},
};

// Sums of one block, of `rows` rows from `row` and `panels` panels from `panel`, become C. `weights`: that of the panels at the block's
// first k, `weights_stride` elements apart.
template <FloatType type, typename Function>
BERTIE_INLINE void finish_tile(const GemmProblem& problem, const Block& block, int64_t row, int64_t rows, int64_t panel,
                               int64_t panels, const float* sums, const void* weights, int64_t weights_stride,
                               Function activation) {
  const int64_t column = panel * kGemmPanel, columns = min(problem.weight.n - column, panels * kGemmPanel);
  const float* const bias = block.last && problem.bias ? problem.bias + column : nullptr;
  const float* const residual = block.last ? problem.residual : nullptr;
  const int64_t depth = block.k_end - block.k_begin;
  const Vec16 infinity = broadcast(__builtin_inff());
  for (int64_t r = 0; r < rows; ++r, sums += kSumsStride) {
    float* const c = problem.c + (row + r) * problem.c_stride + column;
    for (int64_t p = 0; p < panels; ++p) {
      const int64_t at = p * kGemmPanel, left = columns - at;
      Vec16 sum = load(sums + at);
      if (any(infinity <= min(abs(sum), infinity))) {  // or NaN
        const float* const a = problem.a + (row + r) * problem.a_stride + block.k_begin;
        sum = zero();
        for (int64_t k = 0; k < depth; ++k) {
          sum = fma(broadcast(a[k]), read_floats<type>(weights, p * weights_stride + k * kGemmPanel, kGemmPanel), sum);
        }
      }
      if (!block.first) sum = load_up_to_16(c + at, left) + sum;
      if (bias) sum = sum + load_up_to_16(bias + at, left);
      if (block.last) sum = activation(sum);
      if (residual) sum = sum + load_up_to_16(residual + (row + r) * problem.residual_stride + column + at, left);
      store_up_to_16(c + at, sum, left);
    }
  }
}

template <FloatType type>
void multiply(const GemmProblem& problem, const GemmRange& range, std::byte* scratch) {
  const int64_t rows = range.row_end - range.row_begin, k = problem.weight.k;
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows, height = (rows + tiles - 1) / tiles;
  const int64_t turns = (tiles + 1) / 2, group = group_of(tiles);
  RowsInParts& in_parts = *reinterpret_cast<RowsInParts*>(scratch);
  const RowsInParts wanted = {keeps_rows(rows, k) ? problem.run : 0, problem.a, range.row_begin, range.row_end};
  const bool split = wanted.run != 0 && __builtin_memcmp(&in_parts, &wanted, sizeof wanted) == 0;
  in_parts = wanted;
  const int64_t next_block = wanted.run != 0 ? tiles * kRowTileElements : 0;
  uint16_t* a = reinterpret_cast<uint16_t*>(scratch + kHeaderBytes);
  uint16_t* const ring = a + kRowTiles * kRowTileElements;
  float* const packed = reinterpret_cast<float*>(ring + kRingElements);
  constexpr int64_t kSize = type == FloatType::f32 ? 4 : 2;
  alignas(64) float sums[2 * kTileRows * kSumsStride];
  configure_tiles(height);
  WeightWalk<type> walk(problem, range, group, turns == 1, ring);
  // What is to be split before the first product.
  const auto begin = [&] {
    walk.open();
    if (turns == 1) {
      walk.advance(walk.pairs_a_step(1));
    } else {
      walk.finish_group();
    }
  };
  begin();
  int64_t done = 0;  // steps
  for (Block block = block_at(0, k);; block = block_at(block.k_end, k)) {
    if (!split) {
      split_rows(problem.a + range.row_begin * problem.a_stride + block.k_begin, problem.a_stride, rows, height,
                 block.k_end - block.k_begin, a);
    }
    for (int64_t panel = range.panel_begin; panel < range.panel_end; panel += group) {
      const int64_t panels = min(group, range.panel_end - panel);
      const void* weights = static_cast<const char*>(problem.panels) + (panel * k + block.k_begin) * kGemmPanel * kSize;
      if (!problem.panels) {
        pack_panels(problem.weight, panel, panel + panels, block.k_begin, block.k_end, packed, kPackedStride);
        weights = packed;
        walk.start_packed(block, panels, packed);
        begin();
      }
      Operands operands = {a, block.steps(), done, sums, turns};
      walk.open();
      asm volatile("" : : : "memory");  // what was split is to be there
      for (int64_t tile = 0; tile < tiles; tile += 2, operands.a += 2 * kRowTileElements) {
        kSumTiles<type>[tile + 1 < tiles][panels - 1](operands, walk);
        for (int64_t second = 0; second < min(2, tiles - tile); ++second) {
          const int64_t begin_row = (tile + second) * height, count = min(height, rows - begin_row);
          const auto finish = [&](auto activation) __attribute__((always_inline)) {
            finish_tile<type>(problem, block, range.row_begin + begin_row, count, panel, panels,
                              sums + second * kTileRows * kSumsStride, weights, problem.panels ? k * kGemmPanel : kPackedStride,
                              activation);
          };
          with_activation(block.last ? problem.activation : Activation::none, finish);
        }
      }
      if (turns > 1) walk.finish_group();
      done += operands.steps;
    }
    if (block.last) break;
    a += next_block;
  }
  _tile_release();
}

}  // namespace

int64_t gemm_rows_at_once() { return kRowsAtOnce; }
int64_t gemm_ranges_per_thread(int64_t rows, int64_t k) {
  return keeps_rows(min(rows, kRowsAtOnce), k) ? kGemmRangesPerThread : 2;
}
bool gemm_in_parts() { return true; }
int64_t gemm_panels_at_once(int64_t rows) { return group_of((rows + kTileRows - 1) / kTileRows); }
size_t gemm_scratch_bytes(const GemmProblem& problem) {
  constexpr int64_t kSplit = kRowTiles * kRowTileElements + kRingElements, kPacked = kMaxGroup * kPackedStride;
  return kHeaderBytes + kSplit * sizeof(uint16_t) + (problem.panels ? 0 : kPacked * sizeof(float));
}

void gemm(const GemmProblem& problem, const GemmRange& range, std::byte* scratch) {
  if (range.row_begin == range.row_end) return;
  // What is packed on the fly is packed as float32.
  switch (problem.panels ? problem.weight.type : FloatType::f32) {
    case FloatType::f32: return multiply<FloatType::f32>(problem, range, scratch);
    case FloatType::f16: return multiply<FloatType::f16>(problem, range, scratch);
    case FloatType::bf16: return multiply<FloatType::bf16>(problem, range, scratch);
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
