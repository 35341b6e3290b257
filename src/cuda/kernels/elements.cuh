// Elements as they lie in memory, and as float32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

__device__ inline float load(const float* p) { return *p; }
__device__ inline float load(const __half* p) { return __half2float(*p); }
__device__ inline float load(const __nv_bfloat16* p) { return __bfloat162float(*p); }
__device__ inline void store(float* p, float value) { *p = value; }
__device__ inline void store(__half* p, float value) { *p = __float2half_rn(value); }
__device__ inline void store(__nv_bfloat16* p, float value) { *p = __float2bfloat16_rn(value); }

__device__ inline uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

__device__ inline float power_of_two(float x) {  // the special function unit's: subnormal results are 0
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ inline float inverse(float x) {  // likewise
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two neighbours in memory.
template <typename T>
__device__ inline uint32_t pair(float low, float high) {
  union {
    T values[2];
    uint32_t bits;
  } both;
  store(&both.values[0], low);
  store(&both.values[1], high);
  return both.bits;
}

// The sum of a warp's values, in each of its lanes.
__device__ inline float warp_sum(float value) {
  for (int lane = 16; lane > 0; lane /= 2) value += __shfl_xor_sync(0xffffffffu, value, lane);
  return value;
}

// Calls body(T{}) for the C++ type of an element.
template <typename Body>
cudaError_t with_element(Element element, Body body) {
  switch (element) {
    case Element::f32: return body(float{});
    case Element::f16: return body(__half{});
    case Element::bf16: return body(__nv_bfloat16{});
  }
  return cudaErrorInvalidValue;
}

// Blocks of `threads` for `count` elements, each thread striding where there are more than the device holds at a time.
inline unsigned blocks_for(int64_t count, int threads) {
  const int64_t blocks = (count + threads - 1) / threads;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > 65535 ? 65535 : blocks);
}

}  // namespace bertie::cuda
