// One element of y a thread and turn.
#include "cuda/kernels/where.h"

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void where(WhereParams p) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < p.count; i += gridDim.x * int64_t{blockDim.x}) {
    int64_t left = i, at = 0, at_a = 0, at_b = 0;
    for (int axis = p.axes - 1; axis >= 0; --axis) {
      const int64_t place = left % p.extents[axis];
      left /= p.extents[axis];
      at += place * p.condition_strides[axis];
      at_a += place * p.a_strides[axis];
      at_b += place * p.b_strides[axis];
    }
    static_cast<T*>(p.y)[i] = p.condition[at] != 0 ? static_cast<const T*>(p.a)[at_a] : static_cast<const T*>(p.b)[at_b];
  }
}

template <typename T>
cudaError_t launch(const WhereParams& p, cudaStream_t stream) {
  where<T><<<blocks_for(p.count, kThreads), kThreads, 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_where(const WhereParams& p, cudaStream_t stream) {
  if (p.count == 0) return cudaSuccess;
  switch (p.element_bytes) {
    case 1: return launch<uint8_t>(p, stream);
    case 2: return launch<uint16_t>(p, stream);
    case 4: return launch<uint32_t>(p, stream);
    case 8: return launch<uint64_t>(p, stream);
    default: return cudaErrorInvalidValue;
  }
}

}  // namespace bertie::cuda
