// Products of eight-bit integers in registers, by what the instruction set has. A step meets one line of a panel, sixteen columns of
// 32 bits, with 32 bits of each row of A:
//
//   VNNI     four k in bytes, as the panel holds them; A's have 128 added, which the sums' starts take off
//   pairs    two k of 16 bits each (vpmaddwd); with AVX2 int8_gemm_avx2.cc mostly does without
//   floats   one k as a float: sums of up to kExactLines products are integers below 2^24, hence exact
//
// 64 k of A (16 times 32 bits) become kForms blocks of 64 bytes, and a panel's 16 lines of those k become kForms
// blocks of 16 lines: block f takes of each four k the f-th (floats), or the f-th and the f + 2-nd (pairs). Line l thus meets
// A's 32 bits number l. With VNNI there is one form, and panels are used as they are.
#pragma once

#include "cpu/kernels/int8_gemm.h"
#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)

constexpr int kForms = 1;
constexpr int64_t kExactLines = kInt8MaxDepth;
using Sums = IVec16;

template <int form>
BERTIE_INLINE IVec16 widen(IVec16 bytes) {
  return bytes ^ broadcast_int(static_cast<int32_t>(0x80808080));
}
// Written out: GCC 12 holds what its own function gives in two registers, of two types, and spills one.
BERTIE_INLINE IVec16 dot(IVec16 sums, IVec16 a, IVec16 w) {
#if defined(__AVX512VNNI__)
  asm("vpdpbusd %[w], %[a], %[sums]" : [sums] "+v"(sums.v) : [a] "v"(a.v), [w] "v"(w.v));
#else
  asm("%{vex%} vpdpbusd %[w], %[a], %[sums]" : [sums] "+x"(sums.lo) : [a] "x"(a.lo), [w] "x"(w.lo));
  asm("%{vex%} vpdpbusd %[w], %[a], %[sums]" : [sums] "+x"(sums.hi) : [a] "x"(a.hi), [w] "x"(w.hi));
#endif
  return sums;
}
BERTIE_INLINE IVec16 to_int(IVec16 sums) { return sums; }

#elif defined(__AVX2__)

constexpr int kForms = 2;
constexpr int64_t kExactLines = kInt8MaxDepth;
using Sums = IVec16;

// Written out: left to itself GCC 12 takes products ahead of their sums, and spills.
template <typename Register>
BERTIE_INLINE Register add_product(Register sum, Register a, Register w) {
  Register product;
  asm("vpmaddwd %[w], %[a], %[product]\n\tvpaddd %[product], %[sum], %[sum]"
      : [sum] "+v"(sum), [product] "=&v"(product)
      : [a] "v"(a), [w] "v"(w));
  return sum;
}
#if defined(__AVX512BW__)
template <int form>
BERTIE_INLINE IVec16 widen(IVec16 a) {
  return {_mm512_srai_epi16(form == 0 ? _mm512_slli_epi16(a.v, 8) : a.v, 8)};
}
BERTIE_INLINE IVec16 dot(IVec16 sums, IVec16 a, IVec16 w) { return {add_product(sums.v, a.v, w.v)}; }
#else
template <int form>
BERTIE_INLINE IVec16 widen(IVec16 a) {
  return {_mm256_srai_epi16(form == 0 ? _mm256_slli_epi16(a.lo, 8) : a.lo, 8),
          _mm256_srai_epi16(form == 0 ? _mm256_slli_epi16(a.hi, 8) : a.hi, 8)};
}
BERTIE_INLINE IVec16 dot(IVec16 sums, IVec16 a, IVec16 w) {
  return {add_product(sums.lo, a.lo, w.lo), add_product(sums.hi, a.hi, w.hi)};
}
#endif
BERTIE_INLINE IVec16 to_int(IVec16 sums) { return sums; }

#else

constexpr int kForms = 4;
constexpr int64_t kExactLines = 1024;  // 1024 * 127 * 127 < 2^24
using Sums = Vec16;

template <int form>
BERTIE_INLINE IVec16 widen(IVec16 a) {
  const IVec16 byte = shift_right<8 * form>(a) & broadcast_int(0xff);
  return bits(to_float(byte ^ broadcast_int(0x80)) - broadcast(128.0f));
}
BERTIE_INLINE Vec16 dot(Vec16 sums, IVec16 a, IVec16 w) { return fma(from_bits(a), from_bits(w), sums); }
BERTIE_INLINE IVec16 to_int(Vec16 sums) {
  return detail::each_quarter<IVec16>([&](int i) { return (detail::Bits4) __builtin_convertvector(sums.v[i], detail::Int4); });
}

#endif

// Calls body(value) for each value below `count`, as a constant.
template <int value>
struct Constant {
  constexpr operator int() const { return value; }
};
template <int count, int value = 0, typename Body>
BERTIE_INLINE void for_each_constant(Body body) {
  body(Constant<value>{});
  if constexpr (value + 1 < count) for_each_constant<count, value + 1>(body);
}

BERTIE_INLINE IVec16 broadcast_bits(const std::byte* p) {
  int32_t bits;
  __builtin_memcpy(&bits, p, sizeof bits);
  return broadcast_int(bits);
}
BERTIE_INLINE IVec16 load_line(const std::byte* p) { return load_int(reinterpret_cast<const int32_t*>(p)); }
BERTIE_INLINE void store_line(std::byte* p, IVec16 a) { store_int(reinterpret_cast<int32_t*>(p), a); }

}  // namespace bertie::cpu::BERTIE_ISA
