// Two neighbours in 16 bits, as products leave them.
#pragma once

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {

template <typename T>
struct PairOf;
template <>
struct PairOf<__half> {
  using Type = __half2;
};
template <>
struct PairOf<__nv_bfloat16> {
  using Type = __nv_bfloat162;
};
template <typename T>
using Pair = typename PairOf<T>::Type;

template <typename T>
__device__ inline Pair<T> pair_in(uint32_t bits) {
  return *reinterpret_cast<const Pair<T>*>(&bits);
}
__device__ inline float2 floats(__half2 x) { return __half22float2(x); }
__device__ inline float2 floats(__nv_bfloat162 x) { return __bfloat1622float2(x); }
__device__ inline bool is_poisoned(__half2 x) { return !(__low2float(x) == 0.0f && __high2float(x) == 0.0f); }

}  // namespace bertie::cuda
