// A block takes a tile and a head: 8 warps of 16 queries, and keys in blocks of 128, as the definition has them. Rows of q and k and columns of v
// become integers in registers, on their way to shared memory: rows in lines that ldmatrix reads without meeting a bank twice; v transposed, keys in
// the order in which scores leave the matrix units, so that weights go into the next product from the registers that they are in. In fp8 columns of v
// become e4m3 in their place, and weights e4m3 by the special function unit.
#include "cuda/kernels/eight_bit_attention.h"

#include <cfloat>
#include <type_traits>

#include "cuda/kernels/attention.cuh"
#include "cuda/kernels/pairs.cuh"
#include "cuda/kernels/quantized_rows.cuh"

namespace bertie::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32, kKeys = 128;
static_assert(kEightBitAttentionQueries == kWarps * 16 && kEightBitAttentionQueries == kKeys,
              "rows of q are taken as those of k are");
// A float in whose low bits integers below 2^22 may be read, and sums begin: less it they are floats, exactly.
constexpr float kRounder = 0x1.8p23f;
constexpr int32_t kSumsBegin = 0x4b400000;
static_assert(int64_t{kKeys} * 255 * 127 < 1 << 22 && kEightBitAttentionWidest * 127 * 127 < 1 << 22, "sums stay below it");

// attention_int8.h's, each operation rounded once.
constexpr float kWeightOne = 255.0f, kLeastWeight = -12.0f, kLeastDecay = -126.0f;
constexpr float kFp8WeightOctaves = 8;  // attention_fp8.h's
__device__ inline float attention_power(float x, float lowest) {
  x = fminf(fmaxf(x, lowest), 0.0f);  // NaN: lowest
  const float shifted = __fadd_rn(x, kRounder), fraction = __fsub_rn(x, __fsub_rn(shifted, kRounder));
  const float power = fmaf(fmaf(fmaf(14.0273156f, fraction, 61.7638907f), fraction, 176.787153f), fraction, kWeightOne);
  return __uint_as_float(__float_as_uint(power) + (__float_as_uint(shifted) << 23));
}
__device__ inline uint32_t attention_weight(float x) {  // in the lowest byte
  return __float_as_uint(__fadd_rn(attention_power(x, kLeastWeight), kRounder));
}
__device__ inline float attention_decay(float x) { return __fmul_rn(attention_power(x, kLeastDecay), 1 / kWeightOne); }
__device__ inline float not_finite_as_nan(float x) { return isfinite(x) ? x : NAN; }

// From the lowest bytes of four.
__device__ inline uint32_t four_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return __byte_perm(__byte_perm(a, b, 0x0040), __byte_perm(c, d, 0x0040), 0x5410);
}

// Known where it is asked for alone: what follows from it is found there again, and takes no registers elsewhere.
__device__ inline uint32_t here(uint32_t x) {
  asm volatile("" : "+r"(x));
  return x;
}

// ---- Eight neighbours, as they lie in memory.

template <typename T>
struct alignas(16) Eight {
  uint32_t words[2 * sizeof(T)];
};

template <typename T>
__device__ inline void widen(const Eight<T>& x, float (&to)[8]) {
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < 8; ++i) to[i] = __uint_as_float(x.words[i]);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 both = floats(pair_in<T>(x.words[i]));
      to[2 * i] = both.x;
      to[2 * i + 1] = both.y;
    }
  }
}

// Magnitudes of a word's element, or two; NaN above all.
template <typename T>
__device__ inline uint32_t magnitudes(uint32_t word) {
  return word & (sizeof(T) == 4 ? 0x7fffffffu : 0x7fff7fffu);
}
template <typename T>
__device__ inline uint32_t larger(uint32_t a, uint32_t b) {
  if constexpr (sizeof(T) == 4) {
    return max(a, b);
  } else {
    const Pair<T> most = __hmax2_nan(pair_in<T>(a), pair_in<T>(b));
    return *reinterpret_cast<const uint32_t*>(&most);
  }
}

// ---- Floats to integers, as int8.h has it, and to e4m3, as attention_fp8.h.

// Of numbers of which this is the largest magnitude, and is to become `limit`: their scale, or what they are multiplied by.
__device__ inline float quotient(uint32_t largest, bool scale, float limit = kInt8Largest) {
  const float x = __uint_as_float(largest), divided = __fdiv_rn(scale ? x : limit, scale ? limit : x);
  return largest == 0 ? 0.0f : divided;
}

// In the lowest byte.
template <typename T>
__device__ inline uint32_t integer(float x, float inverse) {
  const float scaled = __fmul_rn(x, inverse);
  // No inverse of an f16 is infinite: what is finite is held within 127 by its rounding.
  if constexpr (std::is_same_v<T, __half>) return __float_as_uint(__fadd_rn(scaled, kRounder));
  return held_int8(scaled);
}

// ---- 128 rows of q or k: D / 8 lanes have one at a time.

template <int D>
struct Rows {
  static constexpr uint32_t kLanes = D / 8, kAtOnce = kThreads / kLanes;
  static constexpr int kPasses = kKeys / kAtOnce;
  static constexpr int kLine = D + 16;  // bytes
  static_assert(kLanes == 2 * kPasses);
};

// `row(i)`: where row i begins, for i < count; other rows are zeros.
template <int D, typename T, typename Row>
__device__ inline void load_rows(Eight<T> (&x)[Rows<D>::kPasses], uint32_t count, uint32_t head_dim, Row row) {
  using R = Rows<D>;
  const uint32_t thread = here(threadIdx.x), column = thread % R::kLanes * 8;
#pragma unroll
  for (int pass = 0; pass < R::kPasses; ++pass) {
    const uint32_t own = pass * R::kAtOnce + thread / R::kLanes;
    x[pass] = Eight<T>{};
    if (own < count && column < head_dim) x[pass] = *reinterpret_cast<const Eight<T>*>(row(own) + column);
  }
}

// `poison` is made NaN where a row is not finite; nullptr: it is not looked at.
template <int D, typename T>
__device__ inline void quantize_rows(const Eight<T> (&x)[Rows<D>::kPasses], uint32_t head_dim, int8_t* lines, float* scales,
                                     float* poison) {
  using R = Rows<D>;
  const uint32_t thread = here(threadIdx.x), lane = thread % R::kLanes, first = thread / R::kLanes;
  uint32_t largest[R::kPasses];
#pragma unroll
  for (int pass = 0; pass < R::kPasses; ++pass) {
    uint32_t most = magnitudes<T>(x[pass].words[0]);
#pragma unroll
    for (int i = 1; i < static_cast<int>(2 * sizeof(T)); ++i) most = larger<T>(most, magnitudes<T>(x[pass].words[i]));
    if constexpr (sizeof(T) == 2) {
      const float2 both = floats(pair_in<T>(most));
      most = larger_magnitude(magnitude(both.x), magnitude(both.y));
    }
    largest[pass] = most;
  }
  // Each of a row's lanes ends with another pass's largest, twice: one divides for the scale, one for the inverse.
#pragma unroll
  for (int half = R::kPasses / 2; half > 0; half /= 2) {
    const bool upper = lane & half;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const uint32_t other = __shfl_xor_sync(0xffffffffu, upper ? largest[i] : largest[i + half], half);
      largest[i] = larger_magnitude(upper ? largest[i + half] : largest[i], other);
    }
  }
  largest[0] = larger_magnitude(largest[0], __shfl_xor_sync(0xffffffffu, largest[0], R::kPasses));
  const bool has_scale = lane >= R::kPasses;
  const float own = quotient(largest[0], has_scale);
  if (has_scale) {
    scales[lane % R::kPasses * R::kAtOnce + first] = own;
    if (poison && !isfinite(own)) *poison = NAN;
  }
#pragma unroll
  for (int pass = 0; pass < R::kPasses; ++pass) {
    const float inverse = __shfl_sync(0xffffffffu, own, pass, R::kLanes);
    float each[8];
    widen(x[pass], each);
    uint32_t integers[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) integers[i] = integer<T>(each[i], inverse);
    uint2 eight = {four_bytes(integers[0], integers[1], integers[2], integers[3]),
                   four_bytes(integers[4], integers[5], integers[6], integers[7])};
    if (lane * 8 >= head_dim) eight = {};  // zero times an infinite inverse
    *reinterpret_cast<uint2*>(lines + (pass * R::kAtOnce + first) * R::kLine + lane * 8) = eight;
  }
}

// ---- 128 rows of v: a thread has eight columns of four keys, neighbours in a column's line.

template <int D>
struct Columns {
  static constexpr uint32_t kLanes = D < 64 ? D / 8 : 8;
  static constexpr int kPasses = D < 64 ? 1 : D / 64;
  static constexpr int kWarpsUsed = kLanes;  // for 32 fours of keys
};

// Which of a block's keys: scores of two neighbours and of those eight further on are a thread's.
__device__ inline uint32_t key_of(uint32_t four, uint32_t place) {
  return four / 4 * 16 + place / 2 * 8 + four % 4 * 2 + place % 2;
}

// 16 bytes of sixteen keys, within a column's line of 128: eight columns together meet no bank twice, whether chunk or column varies.
__device__ inline uint32_t value_place(uint32_t column, uint32_t chunk) {
  return column * kKeys + (chunk ^ (column / 8 ^ column) % 8) * 16;
}

template <typename T, int D>
struct Shared {
  alignas(16) int8_t queries[kKeys * Rows<D>::kLine];
  alignas(16) int8_t keys[kKeys * Rows<D>::kLine];
  alignas(16) int8_t values[D * kKeys];
  alignas(16) Eight<T> largest[kWarps][D / 8];  // magnitudes in columns of v, by the warps that have them
  alignas(16) float query_scales[kKeys];
  alignas(16) float key_scales[kKeys];
  alignas(16) float inverses[D];
  alignas(16) float column_scales[D];
  int32_t query_columns[kKeys], key_columns[kKeys];  // places in the sequence, for the bias; else not written
  float largest_scores[kEightBitAttentionQueries], totals[kEightBitAttentionQueries];  // so far
  float poison;                                                                        // NaN where a key is not finite
};

// ---- Products.

#define BERTIE_MMA(TYPE)                                                                                            \
  asm("mma.sync.aligned.m16n8k32.row.col.s32." TYPE ".s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])                                                              \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
__device__ inline void multiply(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { BERTIE_MMA("s8"); }
__device__ inline void multiply_weights(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { BERTIE_MMA("u8"); }
#undef BERTIE_MMA
__device__ inline void multiply_weights(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if __CUDA_ARCH__ >= 890
  asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
  __trap();  // not launched there
#endif
}
__device__ inline float exact(int32_t sum) { return __fsub_rn(__int_as_float(sum), kRounder); }
__device__ inline float exact(float sum) { return sum; }

// Blocks of a multiprocessor: what its registers hold.
template <typename T, int D>
constexpr int kResident = sizeof(T) == 2 && D <= 64 ? 2 : 1;

// kFp8: attention_fp8.h's; else attention_int8.h's.
template <typename T, int D, bool kFp8>
__global__ void __launch_bounds__(kThreads, kResident<T, D>) eight_bit_attention(AnyAttentionParams p) {
  begin_dependent();
  if (static_cast<int>(blockIdx.x) >= *p.tile_count) return;
  AttentionTile tile = p.tiles[blockIdx.x];
  using R = Rows<D>;
  using C = Columns<D>;
  extern __shared__ __align__(16) unsigned char memory[];
  Shared<T, D>& shared = *reinterpret_cast<Shared<T, D>*>(memory);
  const uint32_t head = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const auto source = [&](const void* base, int64_t row) {
    return static_cast<const T*>(base) + row * p.row_stride + head * p.head_dim;
  };
  // Of a query or key that does not exist the first's is read.
  const auto column_of_row = [&](int64_t row) { return p.columns ? p.columns[row] : static_cast<int>(row); };
  const uint32_t own = warp * 16 + lane / 4;  // this thread's queries: that and that + 8
  const bool works = warp * 16 < static_cast<uint32_t>(tile.query_count);
  if (tile.key_count > 0) {  // else the query's row may not exist: the first of an empty last sequence
    Eight<T> x[R::kPasses];
    load_rows<D>(x, tile.query_count, p.head_dim, [&](int i) { return source(p.q, query_row(p, tile, i)); });
    if (p.relative_bias && threadIdx.x < kKeys)
      shared.query_columns[threadIdx.x] =
          column_of_row(query_row(p, tile, static_cast<int>(threadIdx.x) < tile.query_count ? threadIdx.x : 0));
    quantize_rows<D>(x, p.head_dim, shared.queries, shared.query_scales, nullptr);
    if (threadIdx.x < kEightBitAttentionQueries) {
      shared.largest_scores[threadIdx.x] = -INFINITY;
      shared.totals[threadIdx.x] = 0;
    }
    if (threadIdx.x == 0) shared.poison = 0;
  }
  float result[D / 8][4] = {};
  const bool has_values = C::kWarpsUsed == kWarps || warp < C::kWarpsUsed;
  for (int left = tile.key_count, first_key = tile.key_begin; left > 0; left -= kKeys, first_key += kKeys) {
    const int count = min(kKeys, left);
    Eight<T> keys[R::kPasses], values[C::kPasses][4];
    const auto column_of = [](uint32_t thread, int pass) { return (thread % C::kLanes + pass * C::kLanes) * 8; };
    const auto load_values = [&] {
      const uint32_t thread = here(threadIdx.x), four = thread / C::kLanes;
#pragma unroll
      for (int pass = 0; pass < C::kPasses; ++pass) {
#pragma unroll
        for (int place = 0; place < 4; ++place) {
          const uint32_t key = key_of(four, place);
          values[pass][place] = Eight<T>{};
          if (key < count && column_of(thread, pass) < p.head_dim)
            values[pass][place] = *reinterpret_cast<const Eight<T>*>(source(p.v, first_key + key) + column_of(thread, pass));
        }
      }
    };
    load_rows<D>(keys, count, p.head_dim, [&](int i) { return source(p.k, first_key + i); });
    if (sizeof(T) == 2 && has_values) load_values();
    __syncthreads();  // the block of keys before has been read
    if (p.relative_bias && threadIdx.x < kKeys)
      shared.key_columns[threadIdx.x] = column_of_row(first_key + (static_cast<int>(threadIdx.x) < count ? threadIdx.x : 0));
    quantize_rows<D>(keys, p.head_dim, shared.keys, shared.key_scales, &shared.poison);
    if (sizeof(T) == 4 && has_values) load_values();
    if (has_values) {
#pragma unroll
      for (int pass = 0; pass < C::kPasses; ++pass) {
        Eight<T> most;
#pragma unroll
        for (int i = 0; i < static_cast<int>(2 * sizeof(T)); ++i) {
          most.words[i] = magnitudes<T>(values[pass][0].words[i]);
#pragma unroll
          for (int place = 1; place < 4; ++place)
            most.words[i] = larger<T>(most.words[i], magnitudes<T>(values[pass][place].words[i]));
#pragma unroll
          for (int other = C::kLanes; other < 32; other *= 2)
            most.words[i] = larger<T>(most.words[i], __shfl_xor_sync(0xffffffffu, most.words[i], other));
        }
        if (lane < C::kLanes) shared.largest[warp][column_of(threadIdx.x, pass) / 8] = most;
      }
    }
    __syncthreads();
    static_assert(2 * D <= kThreads);
    if (threadIdx.x < 2 * D) {
      const uint32_t column = threadIdx.x % D;
      uint32_t most = 0;
#pragma unroll
      for (int w = 0; w < C::kWarpsUsed; ++w)
        most = larger_magnitude(most, magnitude(load(reinterpret_cast<const T*>(shared.largest[w]) + column)));
      const bool scale = threadIdx.x >= D;
      const float found = quotient(most, scale, kFp8 ? kFp8Largest : kInt8Largest);
      if (scale)
        shared.column_scales[column] = not_finite_as_nan(found);
      else
        shared.inverses[column] = kFp8 ? fminf(found, FLT_MAX) : found;
    }
    __syncthreads();
    if (has_values) {
      const uint32_t thread = here(threadIdx.x), four = thread / C::kLanes;
#pragma unroll
      for (int pass = 0; pass < C::kPasses; ++pass) {
        float inverses[8], each[4][8];
        load_neighbours(shared.inverses + column_of(thread, pass), inverses);
#pragma unroll
        for (int place = 0; place < 4; ++place) widen(values[pass][place], each[place]);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          uint32_t codes;
          if constexpr (kFp8) {
            const auto scaled = [&](int place) { return __fmul_rn(each[place][i], inverses[i]); };
            codes = pair_of_e4m3(scaled(0), scaled(1)) | pair_of_e4m3(scaled(2), scaled(3)) << 16;
          } else {
            uint32_t integers[4];
#pragma unroll
            for (int place = 0; place < 4; ++place) integers[place] = integer<T>(each[place][i], inverses[i]);
            codes = four_bytes(integers[0], integers[1], integers[2], integers[3]);
          }
          *reinterpret_cast<uint32_t*>(shared.values + value_place(column_of(thread, pass) + i, four / 4) + four % 4 * 4) = codes;
        }
      }
    }

    uint32_t weights[kKeys / 32][4] = {};  // four keys' each, of two queries in turn
    float decay[2] = {}, totals[2] = {};
    if (works) {
      const uint32_t lane = here(threadIdx.x % 32), part = lane / 8, line = lane % 8;
      uint32_t q[D / 32][4];
#pragma unroll
      for (int s = 0; s < D / 32; ++s)
        read4(q[s], shared.queries + (warp * 16 + part % 2 * 8 + line) * R::kLine + (s * 2 + part / 2) * 16);
      float products[kKeys / 8][4], most[2] = {-INFINITY, -INFINITY};
#pragma unroll
      for (int n = 0; n < kKeys / 8; n += 2) {
        int32_t sums[2][4] = {{kSumsBegin, kSumsBegin, kSumsBegin, kSumsBegin}, {kSumsBegin, kSumsBegin, kSumsBegin, kSumsBegin}};
#pragma unroll
        for (int s = 0; s < D / 32; ++s) {
          uint32_t b[4];
          read4(b, shared.keys + ((n + part / 2) * 8 + line) * R::kLine + (s * 2 + part % 2) * 16);
          multiply(sums[0], q[s], b[0], b[1]);
          multiply(sums[1], q[s], b[2], b[3]);
        }
#pragma unroll
        for (int second = 0; second < 2; ++second) {
          float scales[2];
          load_neighbours(shared.key_scales + (n + second) * 8 + lane % 4 * 2, scales);
#pragma unroll
          for (int i = 0; i < 4; ++i) products[n + second][i] = __fmul_rn(exact(sums[second][i]), scales[i % 2]);
        }
      }
      const auto each_product = [&](auto change) {  // change(product, key, which query)
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) change(products[n][i], n * 8 + lane % 4 * 2 + i % 2, i / 2);
        }
      };
      const float q_factor[2] = {__fmul_rn(shared.query_scales[own], p.scale), __fmul_rn(shared.query_scales[own + 8], p.scale)};
      if (p.relative_bias) {
        const float* const middle = p.relative_bias + int64_t{head} * p.bias_entries + p.bias_entries / 2;
        const float* const biases[2] = {middle - shared.query_columns[own], middle - shared.query_columns[own + 8]};
        each_product([&](float& product, int key, int half) {
          product = fmaf(product, q_factor[half], __fmul_rn(biases[half][shared.key_columns[key]], kLog2E));
        });
      }
      if (count < kKeys) each_product([&](float& product, int key, int) { product = key < count ? product : -INFINITY; });
      each_product([&](float product, int, int half) { most[half] = fmaxf(most[half], product); });
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        most[half] = fmaxf(most[half], __shfl_xor_sync(0xffffffffu, most[half], 1));
        most[half] = fmaxf(most[half], __shfl_xor_sync(0xffffffffu, most[half], 2));
        const float by = p.relative_bias ? 1.0f : q_factor[half];  // with biases products are scores already
        // Rounded products keep their order when they are multiplied and rounded; of an infinite one and 0 nothing is the largest.
        const float before = shared.largest_scores[own + half * 8],
                    now = fmaxf(before, by == 0 ? 0.0f : __fmul_rn(most[half], by));
        decay[half] = kFp8 ? power_of_two(before - now) : attention_decay(__fsub_rn(before, now));
        uint32_t sum = 0;
#pragma unroll
        for (int group = 0; group < kKeys / 16; ++group) {
          const auto product = [&](int i) { return products[group * 2 + i / 2][half * 2 + i % 2]; };
          if constexpr (kFp8) {
            const float factor = by == 0 ? FLT_MIN : by;  // a key that is not there weighs nothing: minus infinity times 0 is NaN
            const auto weight = [&](int i) { return power_of_two(fmaf(product(i), factor, kFp8WeightOctaves - now)); };
            weights[group / 2][group % 2 * 2 + half] = pair_of_e4m3(weight(0), weight(1)) | pair_of_e4m3(weight(2), weight(3))
                                                                                                << 16;
          } else {
            uint32_t each[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) each[i] = attention_weight(fmaf(product(i), by, -now));
            weights[group / 2][group % 2 * 2 + half] = four_bytes(each[0], each[1], each[2], each[3]);
            sum = __dp4a(weights[group / 2][group % 2 * 2 + half], 0x01010101u, sum);
          }
        }
        if constexpr (!kFp8) {
          sum += __shfl_xor_sync(0xffffffffu, sum, 1);
          sum += __shfl_xor_sync(0xffffffffu, sum, 2);
          totals[half] = static_cast<float>(sum);
        }
        __syncwarp();
        if (lane % 4 == 0) shared.largest_scores[own + half * 8] = now;
      }
      if constexpr (kFp8) {  // of the rounded ones, so that they add up to one
        constexpr uint32_t kOnes = 0x38383838;
        float sums[4] = {};
#pragma unroll
        for (int s = 0; s < kKeys / 32; ++s) multiply_weights(sums, weights[s], kOnes, kOnes);
        totals[0] = sums[0];
        totals[1] = sums[2];
      }
      if (lane % 4 == 0) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& total = shared.totals[own + half * 8];
          total = fmaf(total, decay[half], totals[half]);
        }
      }
    }
    __syncthreads();
    if (works) {
      const uint32_t lane = here(threadIdx.x % 32), part = lane / 8, line = lane % 8;
#pragma unroll
      for (int n = 0; n < D / 8; ++n) {
        using Sum = std::conditional_t<kFp8, float, int32_t>;
        constexpr Sum kBegin = kFp8 ? 0 : kSumsBegin;
        Sum sums[4] = {kBegin, kBegin, kBegin, kBegin};
#pragma unroll
        for (int s = 0; s < kKeys / 32; s += 2) {
          uint32_t b[4];
          read4(b, shared.values + value_place(n * 8 + line, s * 2 + part));
#pragma unroll
          for (int i = 0; i < 2; ++i) multiply_weights(sums, weights[s + i], b[i * 2], b[i * 2 + 1]);
        }
        float scales[2];
        load_neighbours(shared.column_scales + n * 8 + lane % 4 * 2, scales);
#pragma unroll
        for (int i = 0; i < 4; ++i) result[n][i] = fmaf(exact(sums[i]), scales[i % 2], __fmul_rn(result[n][i], decay[i / 2]));
      }
    }
  }

  tile = p.tiles[blockIdx.x];  // again, so that no registers hold it until now
  bool bad = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = own + half * 8;
    if (query >= tile.query_count) continue;
    const float inverse = tile.key_count > 0 ? __frcp_rn(shared.totals[query]) : 0.0f;
    const float poison = tile.key_count == 0 ? 0.0f : isfinite(shared.query_scales[query] * p.scale) ? shared.poison : NAN;
    const int64_t row = tile.query_begin + query, width = int64_t{p.heads} * p.head_dim;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
      if (n * 8 >= p.head_dim) break;
      const int column = head * p.head_dim + n * 8 + lane % 4 * 2;
      Neighbours<T, 2> both;
      float rounded[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        store(&both.values[i], __fadd_rn(__fmul_rn(result[n][half * 2 + i], inverse), poison));
        rounded[i] = load(&both.values[i]);
        bad |= !isfinite(rounded[i]);
      }
      if (p.y) *reinterpret_cast<Neighbours<T, 2>*>(static_cast<T*>(p.y) + row * width + column) = both;
      if (p.quantized.values) store_eight_bits(p.quantized, row, width, column, rounded, 0);
    }
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
}

template <typename T, int D, bool kFp8>
cudaError_t launch(const AnyAttentionParams& p, cudaStream_t stream) {
  constexpr int kShared = sizeof(Shared<T, D>);
  return launch_over_tiles(eight_bit_attention<T, D, kFp8>, p, kEightBitAttentionQueries, kThreads, kShared, stream);
}

template <typename T, bool kFp8>
cudaError_t launch_for_heads(const AnyAttentionParams& p, cudaStream_t stream) {
  if (!p.tiles || !eight_bit_attention_takes(p.head_dim) || !(p.scale >= 0)) return cudaErrorInvalidValue;
  if (p.head_dim <= 32) return launch<T, 32, kFp8>(p, stream);
  if (p.head_dim <= 64) return launch<T, 64, kFp8>(p, stream);
  return launch<T, 128, kFp8>(p, stream);
}

}  // namespace

cudaError_t launch_int8_attention(const AnyAttentionParams& p, cudaStream_t stream) {
  return with_element(p.element, [&](auto element) { return launch_for_heads<decltype(element), false>(p, stream); });
}

cudaError_t launch_fp8_attention(const AnyAttentionParams& p, cudaStream_t stream) {
  return with_element(p.element, [&](auto element) { return launch_for_heads<decltype(element), true>(p, stream); });
}

}  // namespace bertie::cuda
