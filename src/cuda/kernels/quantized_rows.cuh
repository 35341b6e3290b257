// quant/int8.h and quant/fp8.h on the device: the same operations in float32, each rounded once.
#pragma once

#include <cuda_fp8.h>

#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/quantized_rows.h"

namespace bertie::cuda {

constexpr float kInt8Largest = 127.0f, kFp8Largest = 448.0f;

// Neighbours that are read or written at a time.
template <typename T, int kWidth>
struct alignas(sizeof(T) * kWidth > 16 ? 16 : sizeof(T) * kWidth) Neighbours {
  T values[kWidth];
};

template <int kWidth, typename T>
__device__ inline void load_neighbours(const T* from, float (&to)[kWidth]) {
  const auto read = *reinterpret_cast<const Neighbours<T, kWidth>*>(from);
#pragma unroll
  for (int i = 0; i < kWidth; ++i) to[i] = load(&read.values[i]);
}

// Magnitudes as integers, ordered as they are, NaN above infinity.
__device__ inline uint32_t magnitude(float x) { return __float_as_uint(x) & 0x7fffffffu; }
__device__ inline uint32_t larger_magnitude(uint32_t a, uint32_t b) { return max(a, b); }

__device__ inline float eight_bit_scale(const QuantizedRows& q, uint32_t largest) {
  return __uint_as_float(largest) / (q.e4m3 ? kFp8Largest : kInt8Largest);
}
// What a row's values are multiplied by; 0 for a row of zeros.
__device__ inline float eight_bit_inverse(const QuantizedRows& q, uint32_t largest) {
  return largest == 0 ? 0.0f : (q.e4m3 ? kFp8Largest : kInt8Largest) / __uint_as_float(largest);
}

// In the lowest byte.
__device__ inline uint32_t held_int8(float scaled) {
  const float held = fminf(fmaxf(scaled, -kInt8Largest), kInt8Largest);  // NaN: the lower
  return __float_as_uint(__fadd_rn(held, 0x1.8p23f));                    // leaves no bits of a fraction
}

// In the two lowest bytes.
__device__ inline uint32_t pair_of_int8(float low, float high) { return __byte_perm(held_int8(low), held_int8(high), 0x0040); }
__device__ inline uint32_t pair_of_e4m3(float low, float high) {
  return __nv_cvt_float2_to_fp8x2(float2{low, high}, __NV_SATFINITE, __NV_E4M3);
}
__device__ inline uint32_t pair_of_e4m3(__half2 both) { return __nv_cvt_halfraw2_to_fp8x2(both, __NV_SATFINITE, __NV_E4M3); }

// From value `place` on, scaled and moved already.
template <int kWidth>
__device__ inline void store_scaled(const QuantizedRows& q, int64_t place, const float (&scaled)[kWidth]) {
  if constexpr (kWidth % 2 == 0) {
    Neighbours<uint16_t, kWidth / 2> to;
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i)
      to.values[i] = static_cast<uint16_t>(q.e4m3 ? pair_of_e4m3(scaled[2 * i], scaled[2 * i + 1])
                                                  : pair_of_int8(scaled[2 * i], scaled[2 * i + 1]));
    *reinterpret_cast<Neighbours<uint16_t, kWidth / 2>*>(q.values + place) = to;
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i)
      q.values[place + i] = static_cast<int8_t>(q.e4m3 ? pair_of_e4m3(scaled[i], 0) : held_int8(scaled[i]));
  }
}

// Four lanes that have two bytes each of four runs of eight: each gets a whole run.
__device__ inline uint2 transposed(const uint32_t (&pairs)[4], int lane) {
  const bool high = lane & 2, odd = lane & 1;
  const uint32_t low_pairs = __byte_perm(pairs[0], pairs[1], 0x5410), high_pairs = __byte_perm(pairs[2], pairs[3], 0x5410);
  const uint32_t other = __shfl_xor_sync(0xffffffffu, high ? low_pairs : high_pairs, 2);
  const uint32_t from_low = high ? other : low_pairs, from_high = high ? high_pairs : other;  // of lanes lane & 1, and that + 2
  const uint32_t own = __byte_perm(from_low, from_high, odd ? 0x7632 : 0x5410);
  const uint32_t given = __shfl_xor_sync(0xffffffffu, __byte_perm(from_low, from_high, odd ? 0x5410 : 0x7632), 1);
  return odd ? uint2{__byte_perm(given, own, 0x5410), __byte_perm(given, own, 0x7632)}
             : uint2{__byte_perm(own, given, 0x5410), __byte_perm(own, given, 0x7632)};
}
// The same of two runs: each lane gets half of one, run lane & 1's from byte lane % 4 / 2 * 4 on.
__device__ inline uint32_t transposed(const uint32_t (&pairs)[2], int lane) {
  const bool odd = lane & 1;
  const uint32_t given = __shfl_xor_sync(0xffffffffu, odd ? pairs[0] : pairs[1], 1);
  return odd ? __byte_perm(given, pairs[1], 0x5410) : __byte_perm(pairs[0], given, 0x5410);
}

// Columns `column` and on of a row. `inverse`: eight_bit_inverse of the row; not looked at where scales are fixed.
template <int kWidth>
__device__ inline void store_eight_bits(const QuantizedRows& q, int64_t row, int64_t width, int64_t column,
                                        const float (&x)[kWidth], float inverse) {
  float scaled[kWidth];
  if (q.scales) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) scaled[i] = __fmul_rn(x[i], inverse);
  } else {
    float inverses[kWidth], offsets[kWidth];
    load_neighbours(q.quantization + column, inverses);
    load_neighbours(q.quantization + width + column, offsets);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) scaled[i] = fmaf(x[i], inverses[i], offsets[i]);
  }
  store_scaled(q, row * width + column, scaled);
}

}  // namespace bertie::cuda
