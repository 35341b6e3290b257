// Without VNNI. vpmaddubsw multiplies bytes as they are, in three instructions for 32 products where 16 bits (vpmaddwd) take four; but a
// sum of two of its products is cut off at 16 bits. Rows of A, with 128 added, are 1 .. 255: where neither the positive nor the negative of
// two weights sum to more than 128 in magnitude nothing is cut off (255 * 128 < 2^15). A half line, eight columns by four k, all of whose pairs
// are so is plain; four of five are, of real weights. Two of them that are so together, lane by lane, are a couple: their products are added in
// 16 bits, five instructions for 64 of them; of real weights half to nine tenths of all half lines. `int8_order` lists the couples first, then
// the other plain half lines: sums take off the 128 of both. The rest are widened to 16 bits, as A's rows are beside the bytes. All sums are
// exact, whatever the weights.
#include "cpu/kernels/int8_gemm.h"

#include "cpu/kernels/int8_dot.h"
#include "cpu/kernels/int8_finish.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

constexpr int64_t kMaxTileRows = 11;  // their sums, two half lines, two broadcasts and ones fill the registers
constexpr int64_t kLine = 64;         // bytes of a panel's line
constexpr int64_t kHalves = 2;
constexpr int64_t kHalfColumns = kGemmPanel / kHalves;
constexpr int64_t kHalfLine = kLine / kHalves;

int64_t lines_of(int64_t k) { return int8_depth(k) / 4; }
// How many lines are of couples, how many are plain; then all lines: couples, other plain ones, the rest.
constexpr int64_t kCounts = 2;
int64_t order_of_half(int64_t k) { return kCounts + lines_of(k); }

BERTIE_INLINE __m256i load_half_line(const std::byte* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
BERTIE_INLINE __m256i broadcast_four(const std::byte* p) { return broadcast_bits(p).lo; }
// Of each 16 bits the lower or the upper byte.
BERTIE_INLINE __m256i lower(__m256i bytes) { return widen<0>(IVec16{bytes, bytes}).lo; }
BERTIE_INLINE __m256i upper(__m256i bytes) { return widen<1>(IVec16{bytes, bytes}).lo; }

// Written out, as add_product is.
BERTIE_INLINE __m256i add_plain(__m256i sum, __m256i x, __m256i w, __m256i ones) {
  asm("vpmaddubsw %[w], %[x], %[x]\n\tvpmaddwd %[ones], %[x], %[x]\n\tvpaddd %[x], %[sum], %[sum]"
      : [sum] "+x"(sum), [x] "+x"(x)
      : [w] "x"(w), [ones] "x"(ones));
  return sum;
}

// For two rows of A in turn, whose products need not wait for each other's.
BERTIE_INLINE void add_plain(__m256i& sum, __m256i& second_sum, __m256i x, __m256i second_x, __m256i w, __m256i ones) {
  asm("vpmaddubsw %[w], %[x], %[x]\n\tvpmaddubsw %[w], %[second_x], %[second_x]\n\tvpmaddwd %[ones], %[x], %[x]\n\t"
      "vpmaddwd %[ones], %[second_x], %[second_x]\n\tvpaddd %[x], %[sum], %[sum]\n\tvpaddd %[second_x], %[second_sum], "
      "%[second_sum]"
      : [sum] "+&x"(sum), [second_sum] "+&x"(second_sum), [x] "+&x"(x), [second_x] "+&x"(second_x)
      : [w] "x"(w), [ones] "x"(ones));
}

// For two lines whose products may be added in 16 bits.
BERTIE_INLINE __m256i add_couple(__m256i sum, __m256i x, __m256i second_x, __m256i w, __m256i second_w, __m256i ones) {
  asm("vpmaddubsw %[w], %[x], %[x]\n\tvpmaddubsw %[second_w], %[second_x], %[second_x]\n\tvpaddw %[second_x], %[x], %[x]\n\t"
      "vpmaddwd %[ones], %[x], %[x]\n\tvpaddd %[x], %[sum], %[sum]"
      : [sum] "+&x"(sum), [x] "+&x"(x), [second_x] "+&x"(second_x)
      : [w] "x"(w), [second_w] "x"(second_w), [ones] "x"(ones));
  return sum;
}

// The four bytes of each of a tile's rows, `stride` apart: as two bases and what an address can add to one, so that a row takes no
// instruction of its own for where it lies.
struct RowStrides {
  explicit RowStrides(int64_t stride) : one(stride), three(3 * stride), five(5 * stride) {
    asm("" : "+r"(three), "+r"(five));  // else they are found again from `one`, row by row
  }
  int64_t one, three, five;
};
struct RowBytes {
  RowBytes(const std::byte* a, const RowStrides& strides) : first(a), second(a + 2 * strides.three) { asm("" : "+r"(second)); }
  template <int row>
  __attribute__((always_inline)) __m256i at(const RowStrides& strides) const {
    constexpr int kOwn = row % 6;
    const std::byte* const base = row < 6 ? first : second;
    return broadcast_four(base + (kOwn == 3 ? strides.three : kOwn == 5 ? strides.five : kOwn * strides.one));
  }
  const std::byte *first, *second;
};

// A's rows: the bytes with 128 added, then the lower and the upper ones of each two in 16 bits, `depth` bytes each.
struct HalfPanel {
  const std::byte* a;
  int64_t a_stride, depth;
  const std::byte* lines;  // the half of the first
  const uint16_t* order;
  const int32_t* starts;   // [8]
  const std::byte* ahead;  // a line to fetch for each of these; need not exist
  int64_t ahead_step;
};

using HalfFunction = void (*)(const HalfPanel& h, int32_t* sums);

template <int rows>
void sum_half(const HalfPanel& h, int32_t* out) {
  const int64_t count = h.depth / 4, coupled = h.order[0], plain = h.order[1];
  const uint16_t* const order = h.order + kCounts;
  const std::byte* ahead = h.ahead;
  __m256i sums[rows];
  const __m256i start = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(h.starts));
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) sums[r] = start;
  const RowStrides strides(h.a_stride);
  const __m256i ones = _mm256_set1_epi16(1);
  int64_t i = 0;
  for (; i < coupled; i += 2, ahead += 2 * h.ahead_step) {
    const __m256i w = load_half_line(h.lines + order[i] * kLine), second_w = load_half_line(h.lines + order[i + 1] * kLine);
    const RowBytes a(h.a + order[i] * 4, strides), second_a(h.a + order[i + 1] * 4, strides);
    prefetch_l2(ahead);
    prefetch_l2(ahead + h.ahead_step);
    for_each_constant<rows>([&](auto row) __attribute__((always_inline)) {
      constexpr int kRow = decltype(row)();
      sums[kRow] = add_couple(sums[kRow], a.at<kRow>(strides), second_a.at<kRow>(strides), w, second_w, ones);
    });
  }
  for (; i < plain; ++i, ahead += h.ahead_step) {
    const __m256i w = load_half_line(h.lines + order[i] * kLine);
    const RowBytes a(h.a + order[i] * 4, strides);
    prefetch_l2(ahead);
    for_each_constant<rows>([&](auto row) __attribute__((always_inline)) {
      constexpr int kRow = decltype(row)();
      if constexpr (kRow % 2 == 0 && kRow + 1 < rows) {
        add_plain(sums[kRow], sums[kRow + 1], a.at<kRow>(strides), a.at<kRow + 1>(strides), w, ones);
      } else if constexpr (kRow % 2 == 0) {
        sums[kRow] = add_plain(sums[kRow], a.at<kRow>(strides), w, ones);
      }
    });
  }
  for (; i < count; ++i, ahead += h.ahead_step) {
    const __m256i bytes = load_half_line(h.lines + order[i] * kLine), low = lower(bytes), high = upper(bytes);
    const RowBytes low_a(h.a + h.depth + order[i] * 4, strides), high_a(h.a + 2 * h.depth + order[i] * 4, strides);
    prefetch_l2(ahead);
    for_each_constant<rows>([&](auto row) __attribute__((always_inline)) {
      constexpr int kRow = decltype(row)();
      sums[kRow] = add_product(sums[kRow], low_a.at<kRow>(strides), low);
      sums[kRow] = add_product(sums[kRow], high_a.at<kRow>(strides), high);
    });
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) _mm256_store_si256(reinterpret_cast<__m256i*>(out + r * kGemmPanel), sums[r]);
}

struct HalfTable {
  HalfFunction at[kMaxTileRows + 1];
};
template <int rows>
constexpr void fill(HalfTable& table) {
  table.at[rows] = sum_half<rows>;
  if constexpr (rows > 1) fill<rows - 1>(table);
}
constexpr HalfTable make_table() {
  HalfTable table{};
  fill<kMaxTileRows>(table);
  return table;
}
constexpr HalfTable kSumHalf = make_table();

// A's rows are an odd number of cache lines apart, so that they do not compete for the same sets of the first-level cache.
int64_t row_bytes(int64_t k) { return (3 * int8_depth(k) / kLine | 1) * kLine; }

void widen_row_of_a(const int8_t* a, int64_t k, std::byte* to) {
  const int64_t depth = int8_depth(k);
  const __m256i offset = _mm256_set1_epi8(-128);
  for (int64_t i = 0; i < depth; i += kHalfLine, to += kHalfLine) {
    alignas(kHalfLine) int8_t rest[kHalfLine] = {};
    const int8_t* from = a + i;
    if (i + kHalfLine > k) {
      if (i < k) __builtin_memcpy(rest, from, static_cast<size_t>(k - i));
      from = rest;
    }
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    const auto put = [&](int64_t form, __m256i value) __attribute__((always_inline)) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(to + form * depth), value);
    };
    put(0, _mm256_xor_si256(bytes, offset));
    put(1, lower(bytes));
    put(2, upper(bytes));
  }
}

// Of a half line's pairs, the sum of what is positive and of what is negative, in magnitude.
struct PairSums {
  __m256i positive, negative;
};
PairSums pair_sums(__m256i bytes) {
  const __m256i zero = _mm256_setzero_si256(), ones = _mm256_set1_epi8(1);
  return {_mm256_maddubs_epi16(_mm256_max_epi8(bytes, zero), ones),
          _mm256_maddubs_epi16(_mm256_abs_epi8(_mm256_min_epi8(bytes, zero)), ones)};
}
BERTIE_INLINE bool plain_together(const PairSums& a, const PairSums& b) {
  const __m256i positive = _mm256_add_epi16(a.positive, b.positive), negative = _mm256_add_epi16(a.negative, b.negative);
  const __m256i beyond = _mm256_cmpgt_epi16(_mm256_max_epi16(positive, negative), _mm256_set1_epi16(128));
  return _mm256_movemask_epi8(beyond) == 0;
}

}  // namespace

int64_t int8_gemm_rows_at_once() { return kMaxTileRows * 8; }
int64_t int8_gemm_panels_at_once(int64_t) { return 1; }

size_t int8_gemm_scratch_bytes(int64_t rows, int64_t k) { return static_cast<size_t>(rows * row_bytes(k)); }

int64_t int8_order_length(int64_t k) { return kHalves * order_of_half(k); }

void int8_order(const int8_t* panels, int64_t count, int64_t k, uint16_t* order, int32_t* starts) {
  constexpr int64_t kWindow = 32;  // plain lines that wait for another to make a couple with
  const int64_t lines = lines_of(k);
  const PairSums none = pair_sums(_mm256_setzero_si256());
  const __m256i bytes_of_one = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  for (int64_t half = 0; half < kHalves * count; ++half, order += order_of_half(k), starts += kHalfColumns) {
    const std::byte* const first =
        reinterpret_cast<const std::byte*>(panels) + half / kHalves * lines * kLine + half % kHalves * kHalfLine;
    const auto bytes_of = [&](int64_t line) __attribute__((always_inline)) { return load_half_line(first + line * kLine); };
    uint16_t* const all = order + kCounts;
    __m256i sums = _mm256_setzero_si256();
    PairSums waiting[kWindow];
    uint16_t waiting_lines[kWindow];
    int64_t waits = 0, coupled = 0, plain = 0, other = 0;
    const auto leave = [&](int64_t place) {  // the window, and others move up
      for (--waits; place < waits; ++place) {
        waiting[place] = waiting[place + 1];
        waiting_lines[place] = waiting_lines[place + 1];
      }
    };
    for (int64_t line = 0; line < lines; ++line) {
      const __m256i bytes = bytes_of(line);
      const PairSums own = pair_sums(bytes);
      if (!plain_together(own, none)) {
        all[lines - ++other] = static_cast<uint16_t>(line);
        continue;
      }
      ++plain;
      sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes_of_one, bytes), ones));
      int64_t place = 0;
      while (place < waits && !plain_together(own, waiting[place])) ++place;
      if (place < waits) {
        all[coupled++] = waiting_lines[place];
        all[coupled++] = static_cast<uint16_t>(line);
        leave(place);
        continue;
      }
      if (waits == kWindow) {
        all[lines - ++other] = waiting_lines[0];
        leave(0);
      }
      waiting[waits] = own;
      waiting_lines[waits++] = static_cast<uint16_t>(line);
    }
    while (waits > 0) {
      all[lines - ++other] = waiting_lines[0];
      leave(0);
    }
    order[0] = static_cast<uint16_t>(coupled);
    order[1] = static_cast<uint16_t>(plain);
    for (uint16_t *low = all + coupled, *high = all + lines; low < high;) {  // the plain ones of the rest to its front
      if (plain_together(pair_sums(bytes_of(*low)), none)) {
        ++low;
      } else {
        const uint16_t swapped = *--high;
        *high = *low;
        *low = swapped;
      }
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(starts), _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(sums, 7)));
  }
}

void int8_gemm(const Int8GemmProblem& problem, const GemmRange& range, std::byte* scratch) {
  const int64_t rows = range.row_end - range.row_begin, k = problem.weight.k;
  if (rows <= 0) return;
  const int64_t tiles = (rows + kMaxTileRows - 1) / kMaxTileRows, lines = lines_of(k), stride = row_bytes(k);
  for (int64_t r = 0; r < rows; ++r)
    widen_row_of_a(problem.a + (range.row_begin + r) * problem.a_stride, k, scratch + r * stride);
  alignas(kLine) int32_t sums[kMaxTileRows * kGemmPanel];
  for (int64_t panel = range.panel_begin; panel < range.panel_end; ++panel) {
    const std::byte* const panel_lines = reinterpret_cast<const std::byte*>(problem.weight.panels) + panel * lines * kLine;
    int64_t row = range.row_begin;
    for (int64_t tile = 0; tile < tiles; ++tile) {  // tiles differ by one row at most
      const int64_t tile_rows = (range.row_end - row) / (tiles - tile);
      const int64_t place = row * problem.c_stride + panel * kGemmPanel;
      for (int64_t r = 0; r < tile_rows; ++r) {
        const void* const c = problem.values ? static_cast<const void*>(problem.values + place + r * problem.c_stride)
                                             : problem.c + place + r * problem.c_stride;
        prefetch_for_write(c);
        if (problem.residual) prefetch(problem.residual + (row + r) * problem.residual_stride + panel * kGemmPanel);
      }
      for (int64_t half = 0; half < kHalves; ++half) {
        const int64_t number = panel * kHalves + half;
        const bool fetches = tile == 0 && half == 0;  // the next panel
        kSumHalf.at[tile_rows]({scratch + (row - range.row_begin) * stride, stride, int8_depth(k), panel_lines + half * kHalfLine,
                                problem.weight.order + number * order_of_half(k), problem.weight.starts + number * kHalfColumns,
                                panel_lines + (fetches ? lines * kLine : 0), fetches ? kLine : 0},
                               sums + half * kHalfColumns);
      }
      with_activation(
          problem.activation, [&](auto function) __attribute__((always_inline)) {
            finish_tile(problem, row, tile_rows, panel, 1, sums, kGemmPanel, function);
          });
      row += tile_rows;
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
