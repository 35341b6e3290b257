// Vec16 in portable C++ (the compilers' vector extension; four lanes a register). Include vec.h instead.
#pragma once

namespace bertie::cpu::BERTIE_ISA {

constexpr int kVectorRegisters = 16;
constexpr int kRegistersPerVec16 = 4;

namespace detail {
typedef float Float4 __attribute__((vector_size(16)));
typedef uint32_t Bits4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));
}  // namespace detail

struct Vec16 {
  detail::Float4 v[4];
};
struct IVec16 {
  detail::Bits4 v[4];  // unsigned, so that wrapping is defined
};
struct Mask16 {
  detail::Bits4 v[4];  // all ones or all zeros in each lane
};

namespace detail {
template <typename Result, typename Function>
BERTIE_INLINE Result each_quarter(Function function) {
  Result result;
  for (int i = 0; i < 4; ++i) result.v[i] = function(i);
  return result;
}
}  // namespace detail

BERTIE_INLINE Vec16 load(const float* p) {
  Vec16 result;
  __builtin_memcpy(&result, p, sizeof result);
  return result;
}
BERTIE_INLINE void store(float* p, Vec16 a) { __builtin_memcpy(p, &a, sizeof a); }
BERTIE_INLINE Vec16 broadcast(float x) {
  return detail::each_quarter<Vec16>([&](int) { return detail::Float4{x, x, x, x}; });
}
BERTIE_INLINE Vec16 zero() { return broadcast(0.0f); }
// Lanes from `count` on are zero, and their memory is not touched.
BERTIE_INLINE Vec16 load_partial(const float* p, int64_t count) {
  float lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}
BERTIE_INLINE void store_partial(float* p, Vec16 a, int64_t count) {
  float lanes[16];
  store(lanes, a);
  for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}

BERTIE_INLINE Vec16 operator+(Vec16 a, Vec16 b) {
  return detail::each_quarter<Vec16>([&](int i) { return a.v[i] + b.v[i]; });
}
BERTIE_INLINE Vec16 operator-(Vec16 a, Vec16 b) {
  return detail::each_quarter<Vec16>([&](int i) { return a.v[i] - b.v[i]; });
}
BERTIE_INLINE Vec16 operator*(Vec16 a, Vec16 b) {
  return detail::each_quarter<Vec16>([&](int i) { return a.v[i] * b.v[i]; });
}
BERTIE_INLINE Vec16 operator/(Vec16 a, Vec16 b) {
  return detail::each_quarter<Vec16>([&](int i) { return a.v[i] / b.v[i]; });
}
BERTIE_INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) { return a * b + c; }  // two roundings: no FMA here
BERTIE_INLINE Vec16 fnma(Vec16 a, Vec16 b, Vec16 c) { return c - a * b; }

BERTIE_INLINE Mask16 operator<(Vec16 a, Vec16 b) {
  return detail::each_quarter<Mask16>([&](int i) { return (detail::Bits4)(a.v[i] < b.v[i]); });
}
BERTIE_INLINE Mask16 operator<=(Vec16 a, Vec16 b) {
  return detail::each_quarter<Mask16>([&](int i) { return (detail::Bits4)(a.v[i] <= b.v[i]); });
}
BERTIE_INLINE Mask16 operator==(Vec16 a, Vec16 b) {
  return detail::each_quarter<Mask16>([&](int i) { return (detail::Bits4)(a.v[i] == b.v[i]); });
}
BERTIE_INLINE Vec16 select(Mask16 m, Vec16 a, Vec16 b) {
  return detail::each_quarter<Vec16>(
      [&](int i) { return (detail::Float4)((m.v[i] & (detail::Bits4)a.v[i]) | (~m.v[i] & (detail::Bits4)b.v[i])); });
}
BERTIE_INLINE bool any(Mask16 m) {
  const detail::Bits4 all = (m.v[0] | m.v[1]) | (m.v[2] | m.v[3]);
  return (all[0] | all[1] | all[2] | all[3]) != 0;
}
BERTIE_INLINE Vec16 min(Vec16 a, Vec16 b) { return select(a < b, a, b); }  // b where either is NaN
BERTIE_INLINE Vec16 max(Vec16 a, Vec16 b) { return select(b < a, a, b); }
BERTIE_INLINE Vec16 sqrt(Vec16 a) {
  float lanes[16];
  store(lanes, a);
  for (float& lane : lanes) lane = __builtin_sqrtf(lane);
  return load(lanes);
}

BERTIE_INLINE IVec16 broadcast_int(int32_t x) {
  const uint32_t u = static_cast<uint32_t>(x);
  return detail::each_quarter<IVec16>([&](int) { return detail::Bits4{u, u, u, u}; });
}
BERTIE_INLINE IVec16 load_int(const int32_t* p) {
  IVec16 result;
  __builtin_memcpy(&result, p, sizeof result);
  return result;
}
BERTIE_INLINE void store_int(int32_t* p, IVec16 a) { __builtin_memcpy(p, &a, sizeof a); }
BERTIE_INLINE void store_i8(int8_t* p, IVec16 a) {  // lanes in [-128, 127]
  int32_t lanes[16];
  store_int(lanes, a);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(lanes[i]);
}
BERTIE_INLINE void store_u16(uint16_t* p, IVec16 a) {  // the low halves of the lanes
  int32_t lanes[16];
  store_int(lanes, a);
  for (int i = 0; i < 16; ++i) p[i] = static_cast<uint16_t>(lanes[i]);
}
BERTIE_INLINE IVec16 operator+(IVec16 a, IVec16 b) {
  return detail::each_quarter<IVec16>([&](int i) { return a.v[i] + b.v[i]; });
}
BERTIE_INLINE IVec16 operator-(IVec16 a, IVec16 b) {
  return detail::each_quarter<IVec16>([&](int i) { return a.v[i] - b.v[i]; });
}
BERTIE_INLINE IVec16 max(IVec16 a, IVec16 b) {
  return detail::each_quarter<IVec16>([&](int i) {
    const detail::Bits4 larger = (detail::Bits4)((detail::Int4)b.v[i] < (detail::Int4)a.v[i]);
    return (larger & a.v[i]) | (~larger & b.v[i]);
  });
}
BERTIE_INLINE IVec16 operator&(IVec16 a, IVec16 b) {
  return detail::each_quarter<IVec16>([&](int i) { return a.v[i] & b.v[i]; });
}
BERTIE_INLINE IVec16 operator|(IVec16 a, IVec16 b) {
  return detail::each_quarter<IVec16>([&](int i) { return a.v[i] | b.v[i]; });
}
BERTIE_INLINE IVec16 operator^(IVec16 a, IVec16 b) {
  return detail::each_quarter<IVec16>([&](int i) { return a.v[i] ^ b.v[i]; });
}
template <int n>
BERTIE_INLINE IVec16 shift_left(IVec16 a) {
  return detail::each_quarter<IVec16>([&](int i) { return a.v[i] << n; });
}
template <int n>
BERTIE_INLINE IVec16 shift_right(IVec16 a) {
  return detail::each_quarter<IVec16>([&](int i) { return a.v[i] >> n; });
}
BERTIE_INLINE IVec16 bits(Vec16 a) {
  return detail::each_quarter<IVec16>([&](int i) { return (detail::Bits4)a.v[i]; });
}
BERTIE_INLINE Vec16 from_bits(IVec16 a) {
  return detail::each_quarter<Vec16>([&](int i) { return (detail::Float4)a.v[i]; });
}
BERTIE_INLINE Vec16 to_float(IVec16 a) {
  return detail::each_quarter<Vec16>([&](int i) { return __builtin_convertvector((detail::Int4)a.v[i], detail::Float4); });
}
// To nearest even; |a| < 2^22: adding 1.5 * 2^23 leaves the integer in the low bits.
BERTIE_INLINE IVec16 round_to_int(Vec16 a) { return bits(a + broadcast(12582912.0f)) - broadcast_int(0x4b400000); }

BERTIE_INLINE Vec16 abs(Vec16 a) { return from_bits(bits(a) & broadcast_int(0x7fffffff)); }
BERTIE_INLINE Vec16 negate(Vec16 a) { return from_bits(bits(a) ^ broadcast_int(INT32_MIN)); }

BERTIE_INLINE Vec16 load_bf16_partial(const uint16_t* p, int64_t count) {
  int32_t lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return from_bits(shift_left<16>(load_int(lanes)));
}
BERTIE_INLINE Vec16 load_f16_partial(const uint16_t* p, int64_t count) {
  int32_t lanes[16] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  const IVec16 half = load_int(lanes);
  const IVec16 magnitude = shift_left<13>(half & broadcast_int(0x7fff));
  const Vec16 finite = from_bits(magnitude) * broadcast(0x1p112f);  // exact, subnormal halves too
  const Vec16 special = from_bits(magnitude | broadcast_int(0x7f800000));
  const Mask16 is_finite = from_bits(magnitude) < broadcast(0x1p-112f * 65536.0f);
  return from_bits(bits(select(is_finite, finite, special)) | shift_left<16>(half & broadcast_int(0x8000)));
}
BERTIE_INLINE Vec16 load_bf16(const uint16_t* p) { return load_bf16_partial(p, 16); }
BERTIE_INLINE Vec16 load_f16(const uint16_t* p) { return load_f16_partial(p, 16); }

namespace detail {
// Combines lane i with lane i + 8, then i + 4, i + 2, i + 1.
template <typename Function>
BERTIE_INLINE float reduce(Vec16 a, Function function) {
  float lanes[16];
  store(lanes, a);
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] = function(lanes[i], lanes[i + width]);
  return lanes[0];
}
}  // namespace detail

// Lane i with lane i + 8, then i + 4, i + 2, i + 1.
BERTIE_INLINE float reduce_add(Vec16 a) {
  return detail::reduce(a, [](float x, float y) { return x + y; });
}
BERTIE_INLINE float reduce_max(Vec16 a) {
  return detail::reduce(a, [](float x, float y) { return x > y ? x : y; });
}
BERTIE_INLINE float reduce_min(Vec16 a) {
  return detail::reduce(a, [](float x, float y) { return x < y ? x : y; });
}

// square[r] lane c becomes square[c] lane r.
BERTIE_INLINE void transpose(Vec16 (&square)[16]) {
  float lanes[16][16], turned[16][16];
  for (int r = 0; r < 16; ++r) store(lanes[r], square[r]);
  for (int r = 0; r < 16; ++r)
    for (int c = 0; c < 16; ++c) turned[c][r] = lanes[r][c];
  for (int r = 0; r < 16; ++r) square[r] = load(turned[r]);
}

}  // namespace bertie::cpu::BERTIE_ISA
