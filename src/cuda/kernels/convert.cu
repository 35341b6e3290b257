// One element a thread and turn: reads and writes are coalesced, and the kernel is bound by memory.
#include "cuda/kernels/convert.h"

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

template <typename From, typename To>
__global__ void convert(const From* from, To* to, ConvertParams p) {
  const int64_t live = p.live_rows ? min(p.count, *p.live_rows * p.row_elements) : p.count;
  bool bad = false;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < live; i += gridDim.x * int64_t{blockDim.x}) {
    const float value = load(from + i);
    store(to + i, value);
    bad |= !isfinite(load(to + i));
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
}

}  // namespace

cudaError_t launch_convert(const ConvertParams& p, cudaStream_t stream) {
  constexpr int kThreads = 256;
  return with_element(p.from_element, [&](auto from) {
    return with_element(p.to_element, [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      convert<<<blocks_for(p.count, kThreads), kThreads, 0, stream>>>(static_cast<const From*>(p.from), static_cast<To*>(p.to),
                                                                      p);
      return cudaGetLastError();
    });
  });
}

}  // namespace bertie::cuda
