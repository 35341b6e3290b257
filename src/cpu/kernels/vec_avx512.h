// Vec16 as one AVX-512 register (F, BW, VL, DQ). Include vec.h instead.
#pragma once

#include <immintrin.h>

namespace bertie::cpu::BERTIE_ISA {

constexpr int kVectorRegisters = 32;
constexpr int kRegistersPerVec16 = 1;

struct Vec16 {
  __m512 v;
};
struct IVec16 {
  __m512i v;
};
struct Mask16 {
  __mmask16 v;
};

// The first `count` lanes, 0 <= count <= 16.
BERTIE_INLINE __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }

BERTIE_INLINE Vec16 zero() { return {_mm512_setzero_ps()}; }
BERTIE_INLINE Vec16 broadcast(float x) { return {_mm512_set1_ps(x)}; }
BERTIE_INLINE Vec16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
BERTIE_INLINE void store(float* p, Vec16 a) { _mm512_storeu_ps(p, a.v); }
// Lanes from `count` on are zero, and their memory is not touched.
BERTIE_INLINE Vec16 load_partial(const float* p, int64_t count) { return {_mm512_maskz_loadu_ps(first_lanes(count), p)}; }
BERTIE_INLINE void store_partial(float* p, Vec16 a, int64_t count) { _mm512_mask_storeu_ps(p, first_lanes(count), a.v); }

BERTIE_INLINE Vec16 operator+(Vec16 a, Vec16 b) { return {_mm512_add_ps(a.v, b.v)}; }
BERTIE_INLINE Vec16 operator-(Vec16 a, Vec16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
BERTIE_INLINE Vec16 operator*(Vec16 a, Vec16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
BERTIE_INLINE Vec16 operator/(Vec16 a, Vec16 b) { return {_mm512_div_ps(a.v, b.v)}; }
BERTIE_INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }    // a * b + c
BERTIE_INLINE Vec16 fnma(Vec16 a, Vec16 b, Vec16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
BERTIE_INLINE Vec16 min(Vec16 a, Vec16 b) { return {_mm512_min_ps(a.v, b.v)}; }                    // b where either is NaN
BERTIE_INLINE Vec16 max(Vec16 a, Vec16 b) { return {_mm512_max_ps(a.v, b.v)}; }
BERTIE_INLINE Vec16 sqrt(Vec16 a) { return {_mm512_sqrt_ps(a.v)}; }

BERTIE_INLINE Mask16 operator<(Vec16 a, Vec16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
BERTIE_INLINE Mask16 operator<=(Vec16 a, Vec16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
BERTIE_INLINE Mask16 operator==(Vec16 a, Vec16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
BERTIE_INLINE Vec16 select(Mask16 m, Vec16 a, Vec16 b) { return {_mm512_mask_blend_ps(m.v, b.v, a.v)}; }
BERTIE_INLINE bool any(Mask16 m) { return m.v != 0; }

BERTIE_INLINE IVec16 broadcast_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
BERTIE_INLINE IVec16 load_int(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
BERTIE_INLINE void store_int(int32_t* p, IVec16 a) { _mm512_storeu_si512(p, a.v); }
BERTIE_INLINE void store_i8(int8_t* p, IVec16 a) {  // lanes in [-128, 127]
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}
BERTIE_INLINE void store_u16(uint16_t* p, IVec16 a) {  // the low halves of the lanes
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}
BERTIE_INLINE IVec16 operator+(IVec16 a, IVec16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
BERTIE_INLINE IVec16 operator-(IVec16 a, IVec16 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
BERTIE_INLINE IVec16 max(IVec16 a, IVec16 b) { return {_mm512_max_epi32(a.v, b.v)}; }
BERTIE_INLINE IVec16 operator&(IVec16 a, IVec16 b) { return {_mm512_and_si512(a.v, b.v)}; }
BERTIE_INLINE IVec16 operator|(IVec16 a, IVec16 b) { return {_mm512_or_si512(a.v, b.v)}; }
BERTIE_INLINE IVec16 operator^(IVec16 a, IVec16 b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int n>
BERTIE_INLINE IVec16 shift_left(IVec16 a) {
  return {_mm512_slli_epi32(a.v, n)};
}
template <int n>
BERTIE_INLINE IVec16 shift_right(IVec16 a) {
  return {_mm512_srli_epi32(a.v, n)};
}
BERTIE_INLINE IVec16 bits(Vec16 a) { return {_mm512_castps_si512(a.v)}; }
BERTIE_INLINE Vec16 from_bits(IVec16 a) { return {_mm512_castsi512_ps(a.v)}; }
BERTIE_INLINE Vec16 to_float(IVec16 a) { return {_mm512_cvtepi32_ps(a.v)}; }
BERTIE_INLINE IVec16 round_to_int(Vec16 a) { return {_mm512_cvtps_epi32(a.v)}; }  // to nearest even; |a| < 2^22

BERTIE_INLINE Vec16 abs(Vec16 a) { return {_mm512_abs_ps(a.v)}; }
BERTIE_INLINE Vec16 negate(Vec16 a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }

BERTIE_INLINE Vec16 load_f16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
BERTIE_INLINE Vec16 load_bf16(const uint16_t* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
BERTIE_INLINE Vec16 load_f16_partial(const uint16_t* p, int64_t count) {
  return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(count), p))};
}
BERTIE_INLINE Vec16 load_bf16_partial(const uint16_t* p, int64_t count) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first_lanes(count), p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}

// Lane i with lane i + 8, then i + 4, i + 2, i + 1.
BERTIE_INLINE float reduce_add(Vec16 a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
BERTIE_INLINE float reduce_max(Vec16 a) { return _mm512_reduce_max_ps(a.v); }
BERTIE_INLINE float reduce_min(Vec16 a) { return _mm512_reduce_min_ps(a.v); }

// square[r] lane c becomes square[c] lane r.
BERTIE_INLINE void transpose(Vec16 (&square)[16]) {
  __m512 quads[16];  // quads[4g + j]: in 128-bit lane l, column 4l + j of rows 4g .. 4g+3
#pragma GCC unroll 4
  for (int g = 0; g < 16; g += 4) {
    const __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(square[g].v, square[g + 1].v));
    const __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(square[g].v, square[g + 1].v));
    const __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(square[g + 2].v, square[g + 3].v));
    const __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(square[g + 2].v, square[g + 3].v));
    quads[g] = _mm512_castpd_ps(_mm512_unpacklo_pd(low01, low23));
    quads[g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low01, low23));
    quads[g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high01, high23));
    quads[g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high01, high23));
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 low_ab = _mm512_shuffle_f32x4(quads[j], quads[4 + j], 0x44);
    const __m512 high_ab = _mm512_shuffle_f32x4(quads[j], quads[4 + j], 0xee);
    const __m512 low_cd = _mm512_shuffle_f32x4(quads[8 + j], quads[12 + j], 0x44);
    const __m512 high_cd = _mm512_shuffle_f32x4(quads[8 + j], quads[12 + j], 0xee);
    square[j].v = _mm512_shuffle_f32x4(low_ab, low_cd, 0x88);
    square[4 + j].v = _mm512_shuffle_f32x4(low_ab, low_cd, 0xdd);
    square[8 + j].v = _mm512_shuffle_f32x4(high_ab, high_cd, 0x88);
    square[12 + j].v = _mm512_shuffle_f32x4(high_ab, high_cd, 0xdd);
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
