// Stage 3's rows, compiled once for each instruction set (LAYER_NORM_ISA names it). Nothing with external linkage but the one function
// may stand here: the linker would take any one of the copies, and run it on machines that lack its instructions.
#include <cstddef>

#include "stages.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace layer_norm::LAYER_NORM_ISA {
void normalise_vectors(const Rows& rows, int64_t begin, int64_t end);

namespace {

constexpr int64_t kLanes = 16;
typedef float Vec __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
#define INLINE static inline __attribute__((always_inline))

INLINE Vec broadcast(float value) { return value - Vec{}; }

struct Half {
  uint16_t bits;
};

INLINE Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
INLINE void store(float* to, const Vec& value) { *reinterpret_cast<Vec*>(to) = value; }

#if defined(__AVX512F__)
INLINE Vec load(const Half* from) {
  return reinterpret_cast<Vec>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))));
}
INLINE void store(Half* to, const Vec& value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtps_ph(reinterpret_cast<__m512>(value), _MM_FROUND_TO_NEAREST_INT));
}
#elif defined(__F16C__)
INLINE Vec load(const Half* from) {
  union {
    __m256 halves[2];
    Vec value;
  };
  for (int i = 0; i < 2; ++i) halves[i] = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + i));
  return value;
}
INLINE void store(Half* to, const Vec& value) {
  union {
    Vec own;
    __m256 halves[2];
  } split{value};
  for (int i = 0; i < 2; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to) + i, _mm256_cvtps_ph(split.halves[i], _MM_FROUND_TO_NEAREST_INT));
  }
}
#else
INLINE float bits_to_float(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
INLINE uint32_t float_to_bits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}
INLINE float widen(Half half) {
  const uint32_t sign = (half.bits & 0x8000u) << 16, exponent = (half.bits >> 10) & 0x1fu, mantissa = half.bits & 0x3ffu;
  if (exponent == 0x1f) return bits_to_float(sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0));
  if (exponent) return bits_to_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal: exact
  return sign ? -magnitude : magnitude;
}
INLINE Half narrow(float value) {  // to nearest, ties to even
  const uint32_t bits = float_to_bits(value), magnitude = bits & 0x7fffffffu;
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  uint32_t half = 0;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);  // a NaN stays one, with its own bits
  } else if (magnitude >= 0x477ff000u) {
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // subnormal: adding 1/2 aligns the last kept bit to 2^-24
    half = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    half = (magnitude + 0xfffu + ((magnitude >> 13) & 1) - 0x38000000u) >> 13;
  }
  return {static_cast<uint16_t>(sign | half)};
}
INLINE Vec load(const Half* from) {
  Vec value;
  for (int i = 0; i < kLanes; ++i) value[i] = widen(from[i]);
  return value;
}
INLINE void store(Half* to, const Vec& value) {
  for (int i = 0; i < kLanes; ++i) to[i] = narrow(value[i]);
}
#endif

// The first `count` < 16 elements, zero behind them.
template <typename T>
INLINE Vec load_some(const T* from, int64_t count) {
  T padded[kLanes] = {};
  __builtin_memcpy(padded, from, static_cast<size_t>(count) * sizeof(T));
  return load(padded);
}

template <typename T>
INLINE void store_some(T* to, const Vec& value, int64_t count) {
  T padded[kLanes];
  store(padded, value);
  __builtin_memcpy(to, padded, static_cast<size_t>(count) * sizeof(T));
}

// The lanes' sum: halves onto each other.
INLINE float total(const Vec& value) {
  float lanes[kLanes];
  store(lanes, value);
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

// Sum of (x - centre), squared where `squared`: four vectors at a time, so that no addition waits for the one before it.
template <bool squared, typename T>
INLINE float sum(const T* row, int64_t extent, float centre) {
  const Vec middle = broadcast(centre);
  Vec sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= extent; i += 4 * kLanes) {
    for (int k = 0; k < 4; ++k) {
      const Vec value = load(row + i + k * kLanes) - middle;
      sums[k] += squared ? value * value : value;
    }
  }
  for (; i < extent; i += kLanes) {
    const int64_t count = extent - i;
    Vec value = (count < kLanes ? load_some(row + i, count) : load(row + i)) - middle;
    for (int64_t lane = count; lane < kLanes; ++lane) value[lane] = 0;  // not there: must not count
    sums[0] += squared ? value * value : value;
  }
  return total((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

template <typename T>
INLINE void normalise_row(const Rows& rows, const T* row, T* out) {
  const int64_t extent = rows.extent;
  const float mean = sum<false>(row, extent, 0.0f) / static_cast<float>(extent);
  const float variance = sum<true>(row, extent, mean) / static_cast<float>(extent);
  const Vec middle = broadcast(mean), factor = broadcast(1 / __builtin_sqrtf(variance + rows.epsilon));
  int64_t i = 0;
  for (; i + kLanes <= extent; i += kLanes) {
    store(out + i, (load(row + i) - middle) * factor * load(rows.gamma + i) + load(rows.beta + i));
  }
  if (i < extent) {
    const int64_t count = extent - i;
    const Vec gamma = load_some(rows.gamma + i, count), beta = load_some(rows.beta + i, count);
    store_some(out + i, (load_some(row + i, count) - middle) * factor * gamma + beta, count);
  }
}

template <typename T>
INLINE void normalise(const Rows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    normalise_row(rows, static_cast<const T*>(rows.x) + row * rows.extent, static_cast<T*>(rows.out) + row * rows.extent);
  }
}

}  // namespace

void normalise_vectors(const Rows& rows, int64_t begin, int64_t end) {
  rows.half ? normalise<Half>(rows, begin, end) : normalise<float>(rows, begin, end);
}

}  // namespace layer_norm::LAYER_NORM_ISA
