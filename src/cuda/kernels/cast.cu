// One element a thread and turn.
#include "cuda/kernels/cast.h"

#include <type_traits>

#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/numbers.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 256;

template <typename To, typename From>
__device__ inline To converted(From x) {
  if constexpr (std::is_same_v<From, float> && !std::is_same_v<To, float>) {
    // The conversions of the hardware saturate, and give 0 for NaN, of 64 bits the least number.
    if (x != x) return 0;
    if constexpr (sizeof(To) == 8) return __float2ll_rz(x);
    if constexpr (sizeof(To) == 4) return __float2int_rz(x);
    return static_cast<To>(min(max(__float2int_rz(x), 0), 255));
  } else {
    return static_cast<To>(x);
  }
}

template <typename From, typename To>
__global__ void cast(const From* x, To* y, int64_t count, bool to_boolean) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += gridDim.x * int64_t{blockDim.x})
    y[i] = to_boolean ? static_cast<To>(x[i] != From{0}) : converted<To>(x[i]);
}

}  // namespace

cudaError_t launch_cast(const CastParams& p, cudaStream_t stream) {
  if (p.count == 0) return cudaSuccess;
  return with_number(p.from, [&](auto from) {
    return with_number(p.to, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      cast<<<blocks_for(p.count, kThreads), kThreads, 0, stream>>>(static_cast<const From*>(p.x), static_cast<To*>(p.y), p.count,
                                                                   p.to_boolean != 0);
      return cudaGetLastError();
    });
  });
}

}  // namespace bertie::cuda
