// quant/int8.h on the device: the same operations in float32, each rounded once.
#pragma once

#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/quantized_rows.h"

namespace bertie::cuda {

constexpr float kInt8Largest = 127.0f;

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

__device__ inline float int8_scale(uint32_t largest) { return __uint_as_float(largest) / kInt8Largest; }
// What a row's values are multiplied by; 0 for a row of zeros.
__device__ inline float int8_inverse(uint32_t largest) { return largest == 0 ? 0.0f : kInt8Largest / __uint_as_float(largest); }

__device__ inline int8_t held_int8(float scaled) {
  const float held = scaled > -kInt8Largest ? fminf(scaled, kInt8Largest) : -kInt8Largest;  // NaN: the latter
  return static_cast<int8_t>(__float2int_rn(held));
}

// Columns `column` and on of a row. `inverse`: int8_inverse of the row; not looked at where scales are fixed.
template <int kWidth>
__device__ inline void store_int8(const QuantizedRows& q, int64_t row, int64_t width, int64_t column, const float (&x)[kWidth],
                                  float inverse) {
  Neighbours<int8_t, kWidth> to;
  if (q.scales) {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) to.values[i] = held_int8(__fmul_rn(x[i], inverse));
  } else {
    float inverses[kWidth], offsets[kWidth];
    load_neighbours(q.quantization + column, inverses);
    load_neighbours(q.quantization + width + column, offsets);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) to.values[i] = held_int8(fmaf(x[i], inverses[i], offsets[i]));
  }
  *reinterpret_cast<Neighbours<int8_t, kWidth>*>(q.values + row * width + column) = to;
}

}  // namespace bertie::cuda
