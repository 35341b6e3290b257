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

// Four lanes that have a word each of four runs of four words: each gets a whole run.
__device__ inline uint4 transposed_words(const uint32_t (&words)[4], int lane) {
  const bool high = lane & 2, odd = lane & 1;
  const uint32_t of_even = __shfl_xor_sync(0xffffffffu, high ? words[0] : words[2], 2),
                 of_odd = __shfl_xor_sync(0xffffffffu, high ? words[1] : words[3], 2);
  const uint2 even = high ? uint2{of_even, words[2]} : uint2{words[0], of_even},
              other = high ? uint2{of_odd, words[3]} : uint2{words[1], of_odd};  // of lanes lane & 1, and that + 2
  const uint32_t first = __shfl_xor_sync(0xffffffffu, odd ? even.x : other.x, 1),
                 second = __shfl_xor_sync(0xffffffffu, odd ? even.y : other.y, 1);
  return odd ? uint4{first, other.x, second, other.y} : uint4{even.x, first, even.y, second};
}

}  // namespace bertie::cuda
