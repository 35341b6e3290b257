// Neighbours of 16 bytes and more a thread and turn, one element where they do not lie so: bound by memory.
#include "cuda/kernels/convert.h"

#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/quantized_rows.cuh"

namespace bertie::cuda {
namespace {

// From kWidth * i elements on, for each of `turns` turns i.
template <int kWidth, typename From, typename To>
__device__ inline bool convert_neighbours(const From* from, To* to, int64_t turns) {
  bool bad = false;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < turns; i += gridDim.x * int64_t{blockDim.x}) {
    float values[kWidth];
    load_neighbours(from + i * kWidth, values);
    Neighbours<To, kWidth> kept;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      store(&kept.values[k], values[k]);
      bad |= !isfinite(load(&kept.values[k]));
    }
    *reinterpret_cast<Neighbours<To, kWidth>*>(to + i * kWidth) = kept;
  }
  return bad;
}

template <typename From, typename To>
__global__ void convert(const From* from, To* to, ConvertParams p, bool aligned) {
  constexpr int kWidth = 8;
  const int64_t live = p.live_rows ? min(p.count, *p.live_rows * p.row_elements) : p.count,
                together = aligned ? live / kWidth * kWidth : 0;
  bool bad = convert_neighbours<kWidth>(from, to, together / kWidth);
  bad |= convert_neighbours<1>(from + together, to + together, live - together);
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
}

}  // namespace

cudaError_t launch_convert(const ConvertParams& p, cudaStream_t stream) {
  constexpr int kThreads = 256;
  return with_element(p.from_element, [&](auto from) {
    return with_element(p.to_element, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const bool aligned = (reinterpret_cast<uintptr_t>(p.from) | reinterpret_cast<uintptr_t>(p.to)) % 16 == 0;
      convert<<<blocks_for(aligned ? p.count / 8 + 1 : p.count, kThreads), kThreads, 0, stream>>>(
          static_cast<const From*>(p.from), static_cast<To*>(p.to), p, aligned);
      return cudaGetLastError();
    });
  });
}

}  // namespace bertie::cuda
