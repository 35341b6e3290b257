// Vec16 as two AVX2 registers (AVX2, FMA, F16C). Include vec.h instead.
#pragma once

#include <immintrin.h>

namespace bertie::cpu::BERTIE_ISA {

constexpr int kVectorRegisters = 16;
constexpr int kRegistersPerVec16 = 2;

struct Vec16 {
  __m256 lo, hi;
};
struct IVec16 {
  __m256i lo, hi;
};
struct Mask16 {
  __m256 lo, hi;  // all ones or all zeros in each lane
};

namespace detail {
alignas(64) static const int32_t kLaneMasks[48] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
// Lanes [first, first + 8) of a mask whose lanes below `count` are set.
BERTIE_INLINE __m256i lane_mask(int64_t count, int64_t first) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMasks + 16 - count + first));
}
BERTIE_INLINE __m128i half_load(const uint16_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
BERTIE_INLINE __m256 widen_bf16(__m128i half) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16)); }
struct Halves {
  uint16_t lanes[16];
};
BERTIE_INLINE Halves copy_halves(const uint16_t* p, int64_t count) {
  Halves copy = {};
  for (int64_t i = 0; i < count; ++i) copy.lanes[i] = p[i];
  return copy;
}
}  // namespace detail

BERTIE_INLINE Vec16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
BERTIE_INLINE Vec16 broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
BERTIE_INLINE Vec16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
BERTIE_INLINE void store(float* p, Vec16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
// Lanes from `count` on are zero, and their memory is not touched.
BERTIE_INLINE Vec16 load_partial(const float* p, int64_t count) {
  return {_mm256_maskload_ps(p, detail::lane_mask(count, 0)), _mm256_maskload_ps(p + 8, detail::lane_mask(count, 8))};
}
BERTIE_INLINE void store_partial(float* p, Vec16 a, int64_t count) {
  _mm256_maskstore_ps(p, detail::lane_mask(count, 0), a.lo);
  _mm256_maskstore_ps(p + 8, detail::lane_mask(count, 8), a.hi);
}

BERTIE_INLINE Vec16 operator+(Vec16 a, Vec16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
BERTIE_INLINE Vec16 operator-(Vec16 a, Vec16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
BERTIE_INLINE Vec16 operator*(Vec16 a, Vec16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
BERTIE_INLINE Vec16 operator/(Vec16 a, Vec16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
BERTIE_INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {  // a * b + c
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
BERTIE_INLINE Vec16 fnma(Vec16 a, Vec16 b, Vec16 c) {  // c - a * b
  return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
BERTIE_INLINE Vec16 min(Vec16 a, Vec16 b) {  // b where either is NaN
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
BERTIE_INLINE Vec16 max(Vec16 a, Vec16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
BERTIE_INLINE Vec16 sqrt(Vec16 a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }

BERTIE_INLINE Mask16 operator<(Vec16 a, Vec16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
BERTIE_INLINE Mask16 operator<=(Vec16 a, Vec16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LE_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LE_OQ)};
}
BERTIE_INLINE Mask16 operator==(Vec16 a, Vec16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
BERTIE_INLINE Vec16 select(Mask16 m, Vec16 a, Vec16 b) {
  return {_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}
BERTIE_INLINE bool any(Mask16 m) { return _mm256_movemask_ps(_mm256_or_ps(m.lo, m.hi)) != 0; }

BERTIE_INLINE IVec16 broadcast_int(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
BERTIE_INLINE IVec16 load_int(const int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
}
BERTIE_INLINE IVec16 operator+(IVec16 a, IVec16 b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
BERTIE_INLINE IVec16 operator-(IVec16 a, IVec16 b) { return {_mm256_sub_epi32(a.lo, b.lo), _mm256_sub_epi32(a.hi, b.hi)}; }
BERTIE_INLINE IVec16 max(IVec16 a, IVec16 b) { return {_mm256_max_epi32(a.lo, b.lo), _mm256_max_epi32(a.hi, b.hi)}; }
BERTIE_INLINE IVec16 operator&(IVec16 a, IVec16 b) { return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
BERTIE_INLINE IVec16 operator|(IVec16 a, IVec16 b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
BERTIE_INLINE IVec16 operator^(IVec16 a, IVec16 b) { return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)}; }
BERTIE_INLINE void store_int(int32_t* p, IVec16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), a.hi);
}
BERTIE_INLINE void store_i8(int8_t* p, IVec16 a) {                                       // lanes in [-128, 127]
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.lo, a.hi), 0xd8);  // packs works within 128 bits
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
BERTIE_INLINE void store_u16(uint16_t* p, IVec16 a) {  // the low halves of the lanes
  const IVec16 low = a & broadcast_int(0xffff);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(_mm256_packus_epi32(low.lo, low.hi), 0xd8));
}
template <int n>
BERTIE_INLINE IVec16 shift_left(IVec16 a) {
  return {_mm256_slli_epi32(a.lo, n), _mm256_slli_epi32(a.hi, n)};
}
template <int n>
BERTIE_INLINE IVec16 shift_right(IVec16 a) {
  return {_mm256_srli_epi32(a.lo, n), _mm256_srli_epi32(a.hi, n)};
}
BERTIE_INLINE IVec16 bits(Vec16 a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
BERTIE_INLINE Vec16 from_bits(IVec16 a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
BERTIE_INLINE Vec16 to_float(IVec16 a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
BERTIE_INLINE IVec16 round_to_int(Vec16 a) {  // to nearest even; |a| < 2^22
  return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)};
}

BERTIE_INLINE Vec16 abs(Vec16 a) { return from_bits(bits(a) & broadcast_int(0x7fffffff)); }
BERTIE_INLINE Vec16 negate(Vec16 a) { return from_bits(bits(a) ^ broadcast_int(INT32_MIN)); }

BERTIE_INLINE Vec16 load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(detail::half_load(p)), _mm256_cvtph_ps(detail::half_load(p + 8))};
}
BERTIE_INLINE Vec16 load_bf16(const uint16_t* p) {
  return {detail::widen_bf16(detail::half_load(p)), detail::widen_bf16(detail::half_load(p + 8))};
}
BERTIE_INLINE Vec16 load_f16_partial(const uint16_t* p, int64_t count) { return load_f16(detail::copy_halves(p, count).lanes); }
BERTIE_INLINE Vec16 load_bf16_partial(const uint16_t* p, int64_t count) { return load_bf16(detail::copy_halves(p, count).lanes); }

namespace detail {
// Combines lane i with lane i + 8, then i + 4, i + 2, i + 1.
template <typename Wide, typename Narrow>
BERTIE_INLINE float reduce(Vec16 a, Wide wide, Narrow narrow) {
  const __m256 eight = wide(a.lo, a.hi);
  const __m128 four = narrow(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = narrow(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(narrow(two, _mm_shuffle_ps(two, two, 1)));
}
}  // namespace detail

// Lane i with lane i + 8, then i + 4, i + 2, i + 1.
BERTIE_INLINE float reduce_add(Vec16 a) {
  return detail::reduce(
      a, [](__m256 x, __m256 y) { return _mm256_add_ps(x, y); }, [](__m128 x, __m128 y) { return _mm_add_ps(x, y); });
}
BERTIE_INLINE float reduce_max(Vec16 a) {
  return detail::reduce(
      a, [](__m256 x, __m256 y) { return _mm256_max_ps(x, y); }, [](__m128 x, __m128 y) { return _mm_max_ps(x, y); });
}
BERTIE_INLINE float reduce_min(Vec16 a) {
  return detail::reduce(
      a, [](__m256 x, __m256 y) { return _mm256_min_ps(x, y); }, [](__m128 x, __m128 y) { return _mm_min_ps(x, y); });
}

namespace detail {
BERTIE_INLINE void transpose_eight(__m256 (&square)[8]) {
  __m256 quads[8];  // quads[4g + j]: in 128-bit lane l, column 4l + j of rows 4g .. 4g+3
#pragma GCC unroll 2
  for (int g = 0; g < 8; g += 4) {
    const __m256d low01 = _mm256_castps_pd(_mm256_unpacklo_ps(square[g], square[g + 1]));
    const __m256d high01 = _mm256_castps_pd(_mm256_unpackhi_ps(square[g], square[g + 1]));
    const __m256d low23 = _mm256_castps_pd(_mm256_unpacklo_ps(square[g + 2], square[g + 3]));
    const __m256d high23 = _mm256_castps_pd(_mm256_unpackhi_ps(square[g + 2], square[g + 3]));
    quads[g] = _mm256_castpd_ps(_mm256_unpacklo_pd(low01, low23));
    quads[g + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low01, low23));
    quads[g + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high01, high23));
    quads[g + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high01, high23));
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    square[j] = _mm256_permute2f128_ps(quads[j], quads[4 + j], 0x20);
    square[4 + j] = _mm256_permute2f128_ps(quads[j], quads[4 + j], 0x31);
  }
}
}  // namespace detail

// square[r] lane c becomes square[c] lane r.
BERTIE_INLINE void transpose(Vec16 (&square)[16]) {
  __m256 corners[2][2][8];  // [rows' half][columns' half]
  for (int r = 0; r < 16; ++r) {
    corners[r / 8][0][r % 8] = square[r].lo;
    corners[r / 8][1][r % 8] = square[r].hi;
  }
  for (auto& half : corners)
    for (auto& corner : half) detail::transpose_eight(corner);
  for (int r = 0; r < 16; ++r) square[r] = {corners[0][r / 8][r % 8], corners[1][r / 8][r % 8]};
}

}  // namespace bertie::cpu::BERTIE_ISA
