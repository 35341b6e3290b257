// For each block of keys: K becomes integers by row and V by column, both in lines as the instruction set multiplies them; then for each
// tile of query rows, exact sums, scores, weights in 0 .. 255 and weighted values go from registers to a few kilobytes of scratch.
//
// Integers are held by fours (VNNI), twos of 16 bits (vpmaddwd) or ones (floats): int8_dot.h. A line is sixteen of such 32 bits, of
// sixteen keys of K, or of sixteen columns of V; 32 bits of a row of q or of weights meet it.
#include "cpu/kernels/attention_int8.h"

#include "cpu/kernels/attention_rows.h"
#include "cpu/kernels/int8_dot.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

constexpr int64_t kInLane = 4 / kForms;  // integers in 32 bits
constexpr bool kBytes = kInLane == 4;
constexpr int64_t kElement = 4 / kInLane;  // bytes of an integer
constexpr int64_t kLine = 64;              // bytes

// Rows of a tile's left operand and of scores lie an odd number of cache lines apart.
constexpr int64_t kWeightStride = kAttentionKeyBlock * kElement + kLine;
constexpr int64_t kScoreStride = kAttentionKeyBlock + 16;
int64_t query_stride(int64_t head_dim) { return ((round_up_16(head_dim) * kElement + kLine - 1) / kLine | 1) * kLine; }

// ---- Integers in memory, sixteen at a time.

// In [-127, 127].
BERTIE_INLINE void store_integers(std::byte* to, IVec16 a) {
  if constexpr (kBytes) {
    store_i8(reinterpret_cast<int8_t*>(to), a);
  } else if constexpr (kInLane == 2) {
    store_u16(reinterpret_cast<uint16_t*>(to), a);
  } else {
    store(reinterpret_cast<float*>(to), to_float(a));
  }
}

// In [0, 255].
BERTIE_INLINE void store_unsigned(std::byte* to, IVec16 a) {
  if constexpr (!kBytes) {
    store_integers(to, a);
  } else {
#if defined(__AVX512F__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtusepi32_epi8(a.v));
#elif defined(__AVX2__)
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
#endif
  }
}

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
// Sixty-four bytes, of values in [0, 255].
BERTIE_INLINE IVec16 pack_unsigned(const IVec16 (&a)[4]) {
#if defined(__AVX512F__)
  const __m512i packed =
      _mm512_packus_epi16(_mm512_packs_epi32(a[0].v, a[1].v), _mm512_packs_epi32(a[2].v, a[3].v));  // within 128 bits
  return {_mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), packed)};
#else
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const auto half = [&](IVec16 x, IVec16 y) __attribute__((always_inline)) {
    return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(_mm256_packs_epi32(x.lo, x.hi), _mm256_packs_epi32(y.lo, y.hi)),
                                       order);
  };
  return {half(a[0], a[1]), half(a[2], a[3])};
#endif
}
#endif

// q as the left operand: bytes have 128 added, which the starts of the sums take off.
BERTIE_INLINE void store_query(std::byte* to, IVec16 a) {
  if constexpr (kBytes) {
    store_unsigned(to, a + broadcast_int(128));
  } else {
    store_integers(to, a);
  }
}

// Values of kInLane keys, key after key, as 32 bits.
BERTIE_INLINE IVec16 merge_keys(const IVec16 (&keys)[kInLane]) {
  if constexpr (kInLane == 4) {
    const IVec16 byte = broadcast_int(0xff);
    return (keys[0] & byte) | shift_left<8>(keys[1] & byte) | (shift_left<16>(keys[2] & byte) | shift_left<24>(keys[3]));
  } else if constexpr (kInLane == 2) {
    return (keys[0] & broadcast_int(0xffff)) | shift_left<16>(keys[1]);
  } else {
    return bits(to_float(keys[0]));
  }
}

// ---- Rows of floats to integers, as src/quant/int8.h has it.

// Of each of up to sixteen rows, row(i) [width]; NaN where there is one.
template <typename Row>
BERTIE_INLINE Vec16 largest_magnitudes(int64_t rows, int64_t width, Row row) {
  Vec16 square[16];
#pragma GCC unroll 16
  for (int64_t i = 0; i < 16; ++i) {
    IVec16 largest = broadcast_int(0);  // the bits of magnitudes are ordered, NaN above infinity
    if (i < rows) {
      const float* const x = row(i);
      for (int64_t d = 0; d < width; d += 16) largest = max(largest, bits(abs(load_up_to_16(x + d, width - d))));
    }
    square[i] = from_bits(largest);
  }
  transpose(square);
  IVec16 largest = bits(square[0]);
#pragma GCC unroll 16
  for (int i = 1; i < 16; ++i) largest = max(largest, bits(square[i]));
  return from_bits(largest);
}

// Stores up to sixteen rows by store(i, d, integers) and returns their scales, 0 for those that are not there.
template <typename Row, typename Store>
BERTIE_INLINE Vec16 quantize_sixteen(int64_t rows, int64_t width, Row row, Store store_at) {
  const Vec16 largest = largest_magnitudes(rows, width, row);
  alignas(64) float inverse[16];
  store(inverse, select(largest == zero(), zero(), broadcast(127.0f) / largest));
  for (int64_t i = 0; i < rows; ++i) {
    const float* const x = row(i);
    const Vec16 by = broadcast(inverse[i]);
    if (inverse[i] < __builtin_inff()) {
      for (int64_t d = 0; d < width; d += 16) store_at(i, d, round_to_int(load_up_to_16(x + d, width - d) * by));
    } else {  // so small that the inverse overflows, or NaN
      for (int64_t d = 0; d < width; d += 16) store_at(i, d, round_to_int(held(load_up_to_16(x + d, width - d) * by)));
    }
  }
  return largest / broadcast(127.0f);
}

// ---- Products in tiles.

struct TileArguments {
  const std::byte* a;  // [rows, depth] 32 bits, rows a_stride bytes apart
  int64_t a_stride;
  int64_t depth;
  const std::byte* b;  // line (i, p) at b + i * depth_stride + p * panel_stride
  int64_t depth_stride, panel_stride;
  const int32_t* starts;  // [16 * panels], or nullptr: zeros
  const float* scales;    // [16 * panels]
  float* c;               // [rows, 16 * panels]: sums * scales
  int64_t c_stride;
  const float* correction;  // [rows]: c * correction is added; nullptr: nothing is
};
using TileFunction = void (*)(const TileArguments& arguments);

template <int rows, int panels, bool corrected>
void tile(const TileArguments& t) {
  Sums sums[rows][panels];
#pragma GCC unroll 16
  for (int p = 0; p < panels; ++p) {
    Sums start = {};
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
    if (t.starts) start = load_int(t.starts + 16 * p);
#endif
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) sums[r][p] = start;
  }
  const std::byte *a = t.a, *b = t.b;
  const int64_t a_stride = t.a_stride, panel_stride = t.panel_stride, depth_stride = t.depth_stride;
  int64_t i = t.depth;
  do {
    IVec16 right[panels];
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p) right[p] = load_line(b + p * panel_stride);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const IVec16 left = broadcast_bits(a + r * a_stride);
#pragma GCC unroll 16
      for (int p = 0; p < panels; ++p) sums[r][p] = dot(sums[r][p], left, right[p]);
    }
    a += 4;
    b += depth_stride;
  } while (--i > 0);
  float* const c = t.c;
  const int64_t c_stride = t.c_stride;
  const float *const scales = t.scales, *const correction = t.correction;
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 16
    for (int p = 0; p < panels; ++p) {
      const Vec16 sum = to_float(to_int(sums[r][p])), scale = load(scales + 16 * p);
      float* const to = c + r * c_stride + 16 * p;
      if constexpr (corrected) {
        store(to, fused(sum, scale, load(to) * broadcast(correction[r])));
      } else {
        store(to, sum * scale);
      }
    }
}

template <bool corrected>
constexpr auto kTiles = tiles_of<TileFunction>([]<int rows, int panels>() -> TileFunction {
  return tile<rows, panels, corrected>;
});

// Before each tile `fetch` has its turn.
template <typename Fetch>
void multiply(const TileArguments& whole, int64_t rows, int64_t panels, int64_t widest, Fetch fetch) {
  const auto& tiles = whole.correction ? kTiles<true> : kTiles<false>;
  for_tiles(rows, panels, widest, [&](int64_t row, int64_t tile_rows, int64_t panel, int64_t count) {
    TileArguments t = whole;
    t.a += row * whole.a_stride;
    t.b += panel * whole.panel_stride;
    if (t.starts) t.starts += 16 * panel;
    t.scales += 16 * panel;
    t.c += row * whole.c_stride + 16 * panel;
    if (t.correction) t.correction += row;
    fetch();
    tiles.at[tile_rows][count](t);
  });
}

// ---- Weights.

// src/quant/attention_int8.h: attention_power.
BERTIE_INLINE Vec16 power(Vec16 x, float lowest) {
  const Vec16 rounder = broadcast(12582912.0f);  // 1.5 * 2^23
  x = min(max(x, broadcast(lowest)), zero());    // NaN: lowest
  const Vec16 shifted = x + rounder, fraction = x - (shifted - rounder);
  Vec16 p = fused(broadcast(14.0273156f), fraction, broadcast(61.7638907f));
  p = fused(p, fraction, broadcast(176.787153f));
  p = fused(p, fraction, broadcast(255.0f));
  return from_bits(bits(p) + shift_left<23>(bits(shifted)));
}

// ---- One head of one item.

// Where each part of a thread's scratch begins, in bytes.
struct ScratchPlan {
  explicit ScratchPlan(int64_t head_dim) {
    const int64_t width = round_up_16(head_dim);
    keys = take(kAttentionKeyBlock * width * kElement);
    key_scales = take(kAttentionKeyBlock * 4);
    starts = take(kAttentionKeyBlock * 4);
    values = take(kAttentionKeyBlock * width * kElement);
    value_scales = take(width * 4);
    queries = take(kAttentionQueryBlock * query_stride(head_dim));
    query_scales = take((kAttentionQueryBlock + 16) * 4);  // vectors of these may end behind the last query
    maxima = take((kAttentionQueryBlock + 16) * 4);
    totals = take((kAttentionQueryBlock + 16) * 4);
    scores = take(kTileRows * kScoreStride * 4);
    weights = take(kTileRows * kWeightStride);
    sums = take(kAttentionQueryBlock * width * 4);
  }
  int64_t take(int64_t bytes) {
    const int64_t begin = end;
    end += (bytes + kLine - 1) / kLine * kLine;
    return begin;
  }
  int64_t end = 0;
  int64_t keys, key_scales, starts, values, value_scales, queries, query_scales, maxima, totals, scores, weights, sums;
};

struct Work : HeadRows {
  int64_t head_dim, width;  // the latter in whole vectors
  int64_t q_stride;
  // Scratch.
  std::byte* keys;                        // [key panel][width / kInLane][16 keys]
  float* key_scales;                      // [key]
  int32_t* starts;                        // [key]
  std::byte* values;                      // [key / kInLane][column panel][16 columns]
  float* value_scales;                    // [width]
  std::byte* queries;                     // [query], q_stride bytes apart
  float *query_scales, *maxima, *totals;  // [query]
  float* scores;                          // [kTileRows, kScoreStride]
  std::byte* weights;                     // [kTileRows], kWeightStride bytes apart
  float* sums;                            // [query][width]
  Vec16 poison = zero();                  // NaN where a key is not finite

  Work(const AttentionProblem& p, const AttentionItem& i, int64_t h, float* scratch)
      : HeadRows{p, i, h}, head_dim(p.head_dim), width(round_up_16(p.head_dim)), q_stride(query_stride(p.head_dim)) {
    const ScratchPlan plan(head_dim);
    std::byte* const base = reinterpret_cast<std::byte*>(scratch);
    const auto floats = [base](int64_t begin) { return reinterpret_cast<float*>(base + begin); };
    keys = base + plan.keys;
    key_scales = floats(plan.key_scales);
    starts = reinterpret_cast<int32_t*>(base + plan.starts);
    values = base + plan.values;
    value_scales = floats(plan.value_scales);
    queries = base + plan.queries;
    query_scales = floats(plan.query_scales);
    maxima = floats(plan.maxima);
    totals = floats(plan.totals);
    scores = floats(plan.scores);
    weights = base + plan.weights;
    sums = floats(plan.sums);
  }

  void pack_keys(int64_t begin, int64_t count);
  template <int panels>
  void pack_value_panels(int64_t begin, int64_t count, int64_t panel);
  void pack_values(int64_t begin, int64_t count);
  void quantize_queries();
  template <typename Fetch>
  void score(int64_t query, int64_t rows, int64_t key_count, Fetch fetch) const {
    const int64_t depth = width / kInLane;
    multiply({queries + query * q_stride, q_stride, depth, keys, kLine, depth * kLine, starts, key_scales, scores, kScoreStride,
              nullptr},
             rows, (key_count + 15) / 16, kScorePanels, fetch);
  }
  void add_bias(int64_t query, int64_t rows, int64_t key_begin, int64_t key_count) const;
  void weigh(int64_t query, int64_t rows, int64_t key_count, bool first, float* correction) const;
  template <typename Fetch>
  void add_values(int64_t rows, int64_t key_count, float* tile_sums, const float* correction, Fetch fetch) const {
    multiply({weights, kWeightStride, (key_count + kInLane - 1) / kInLane, values, width / 16 * kLine, kLine, nullptr,
              value_scales, tile_sums, width, correction},
             rows, width / 16, kValuePanels, fetch);
  }
  void write(int64_t query, int64_t rows, const float* tile_sums) const;
};

void Work::pack_keys(int64_t begin, int64_t count) {
  alignas(64) std::byte rows[16][kAttentionMaxHeadDim * kElement + kLine];
  const int64_t depth = width / kInLane;
  for (int64_t first = 0; first < count; first += 16) {
    const int64_t present = min(16, count - first);
    const Vec16 scales = quantize_sixteen(
        present, head_dim, [&](int64_t i) __attribute__((always_inline)) { return k(begin + first + i); },
        [&](int64_t i, int64_t d, IVec16 a) __attribute__((always_inline)) { store_integers(rows[i] + d * kElement, a); });
    store(key_scales + first, scales);
    poison = poison + scales * zero();
    std::byte* const panel = keys + first * width * kElement;
    for (int64_t line = 0; line < depth; line += 16) {
      Vec16 square[16];
#pragma GCC unroll 16
      for (int64_t i = 0; i < 16; ++i)
        square[i] = i < present ? load(reinterpret_cast<const float*>(rows[i] + line * 4)) : zero();
      transpose(square);
      for (int64_t i = 0; i < min(16, depth - line); ++i) store_line(panel + (line + i) * kLine, bits(square[i]));
    }
    if constexpr (kBytes) {
      Sums offset = {};  // 128 times the sums of the keys
      for (int64_t line = 0; line < depth; ++line)
        offset = dot(offset, broadcast_int(static_cast<int32_t>(0x80808080)), load_line(panel + line * kLine));
      store_int(starts + first, broadcast_int(0) - to_int(offset));
    }
  }
}

template <int panels>
void Work::pack_value_panels(int64_t begin, int64_t count, int64_t panel) {
  const auto at = [&](int64_t key, int p) __attribute__((always_inline)) {
    const int64_t d = 16 * (panel + p);
    return load_up_to_16(v(begin + key) + d, head_dim - d);
  };
  IVec16 largest[panels];
#pragma GCC unroll 4
  for (int p = 0; p < panels; ++p) largest[p] = broadcast_int(0);
  for (int64_t key = 0; key < count; ++key) {
#pragma GCC unroll 4
    for (int p = 0; p < panels; ++p) largest[p] = max(largest[p], bits(abs(at(key, p))));
  }
  Vec16 inverse[panels];
  bool usual = true;
#pragma GCC unroll 4
  for (int p = 0; p < panels; ++p) {
    const Vec16 most = from_bits(largest[p]), infinity = broadcast(__builtin_inff());
    const Vec16 scale = most / broadcast(127.0f);
    store(value_scales + 16 * (panel + p), fused(scale, zero(), scale));  // not finite: NaN
    inverse[p] = select(most == zero(), zero(), broadcast(127.0f) / most);
    const Mask16 held = most < infinity;
    usual = usual && !any(select(held, inverse[p], infinity) == infinity);
  }
  const auto quantize = [&](auto integers) __attribute__((always_inline)) {
    const int64_t stride = width / 16 * kLine;
    std::byte* to = values + panel * kLine;
    for (int64_t key = 0; key < count; key += kInLane, to += stride) {
#pragma GCC unroll 4
      for (int p = 0; p < panels; ++p) {
        IVec16 lanes[kInLane];
#pragma GCC unroll 4
        for (int64_t i = 0; i < kInLane; ++i)
          lanes[i] = key + i < count ? integers(at(key + i, p) * inverse[p]) : broadcast_int(0);
        store_line(to + p * kLine, merge_keys(lanes));
      }
    }
  };
  if (usual) {
    quantize([](Vec16 x) __attribute__((always_inline)) { return round_to_int(x); });
  } else {  // not finite, or so small that the inverse overflows
    quantize([](Vec16 x) __attribute__((always_inline)) { return round_to_int(held(x)); });
  }
}

void Work::pack_values(int64_t begin, int64_t count) {
  int64_t panel = 0;
  const int64_t panels = width / 16;
  for (; panel + 4 <= panels; panel += 4) pack_value_panels<4>(begin, count, panel);
  if (panel + 2 <= panels) {
    pack_value_panels<2>(begin, count, panel);
    panel += 2;
  }
  if (panel < panels) pack_value_panels<1>(begin, count, panel);
}

void Work::quantize_queries() {
  const Vec16 factor = broadcast(problem.scale);
  for (int64_t first = 0; first < item.query_count; first += 16) {
    const int64_t present = min(16, item.query_count - first);
    const Vec16 scales = quantize_sixteen(
        present, head_dim, [&](int64_t i) __attribute__((always_inline)) { return q(first + i); },
        [&](int64_t i, int64_t d, IVec16 a)
            __attribute__((always_inline)) { store_query(queries + (first + i) * q_stride + d * kElement, a); });
    store(query_scales + first, scales * factor);
  }
}

void Work::add_bias(int64_t query, int64_t rows, int64_t key_begin, int64_t key_count) const {
  const Vec16 log2e = broadcast(1.44269504f);
  for_biases(query, rows, key_begin, key_count, [&](int64_t r, int64_t i, Vec16 bias) {
    float* row = scores + r * kScoreStride + i;
    store(row, fused(load(row), broadcast(query_scales[query + r]), bias * log2e));
  });
}

// Scores to weights, with the rows' running maxima and totals; correction[r] is what earlier sums are to be multiplied by.
void Work::weigh(int64_t query, int64_t rows, int64_t key_count, bool first, float* correction) const {
  const Vec16 lowest = broadcast(-__builtin_inff());
  const int64_t whole = key_count / 16 * 16, end = round_up_16(key_count);
  float largest[16] = {};
  for (int64_t r = 0; r < rows; ++r) {
    float* row = scores + r * kScoreStride;
    if (whole < end) store(row + whole, load(row + whole) + load(kAbsent.terms + 16 - (key_count - whole)));
    Vec16 maximum = lowest;
    for (int64_t i = 0; i < end; i += 16) maximum = max(maximum, load(row + i));
    largest[r] = reduce_max(maximum);
  }
  const Vec16 scale = is_biased() ? broadcast(1.0f) : load(query_scales + query);
  const Vec16 before = first ? lowest : load(maxima + query);
  const Vec16 now = max(before, load(largest) * scale);
  const Vec16 decay = power(before - now, -126.0f) * broadcast(1 / 255.0f);
  alignas(64) float scales[16], negated[16], sums_of_weights[16] = {};
  store(correction, decay);
  store(scales, scale);
  store(negated, negate(now));
  store_partial(maxima + query, now, rows);
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = scores + r * kScoreStride;
    std::byte* to = weights + r * kWeightStride;
    const Vec16 by = broadcast(scales[r]), shift = broadcast(negated[r]);
    const auto weight = [&](int64_t i) __attribute__((always_inline)) { return power(fused(load(row + i), by, shift), -12.0f); };
    IVec16 sum = broadcast_int(0);
    int64_t i = 0;
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
    for (; i + 64 <= end; i += 64) {
      IVec16 integers[4];
#pragma GCC unroll 4
      for (int part = 0; part < 4; ++part) integers[part] = round_to_int(weight(i + 16 * part));
      const IVec16 packed = pack_unsigned(integers);
      store_line(to + i, packed);
      sum = dot(sum, packed, broadcast_int(0x01010101));
    }
#endif
    for (; i < end; i += 16) {
      const IVec16 integers = round_to_int(weight(i));
      store_unsigned(to + i * kElement, integers);
      sum = sum + integers;
    }
    sums_of_weights[r] = reduce_add(to_float(sum));
  }
  const Vec16 sum = load(sums_of_weights);
  store_partial(totals + query, first ? sum : fused(load(totals + query), decay, sum), rows);
}

void Work::write(int64_t query, int64_t rows, const float* tile_sums) const {
  const float keys_not_finite = reduce_add(poison);
  for (int64_t r = 0; r < rows; ++r) {
    const Vec16 factor = broadcast(1.0f / totals[query + r]);
    const Vec16 not_finite = broadcast(keys_not_finite + 0 * query_scales[query + r]);
    float* const to = out(query + r);
    for (int64_t d = 0; d < head_dim; d += 16) {
      store_up_to_16(to + d, load(tile_sums + r * width + d) * factor + not_finite, head_dim - d);
    }
  }
}

}  // namespace

int64_t attention_int8_scratch_floats(int64_t head_dim) { return ScratchPlan(head_dim).end / 4; }

void attention_int8(const AttentionProblem& problem, const AttentionHead& now, const AttentionHead& next, float* scratch) {
  Work work(problem, *now.item, now.head, scratch);
  if (now.item->key_count == 0) return work.write_zeros();
  work.quantize_queries();
  attend(work, next);
}

}  // namespace bertie::cpu::BERTIE_ISA
