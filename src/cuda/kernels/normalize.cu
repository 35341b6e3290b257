// A warp takes a row: one pass for the sum of squares, one that writes.
#include "cuda/kernels/normalize.h"

#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

constexpr int kWarps = 4;

template <typename T>
__global__ void normalize(const T* x, NormalizeParams p) {
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  for (int64_t row = blockIdx.x * int64_t{kWarps} + threadIdx.y; row < rows; row += gridDim.x * int64_t{kWarps}) {
    float squares = 0;
    for (int64_t i = threadIdx.x; i < p.width; i += 32) {
      const float value = load(x + row * p.width + i);
      squares += value * value;
    }
    const float norm = fmaxf(sqrtf(warp_sum(squares)), p.epsilon);
    for (int64_t i = threadIdx.x; i < p.width; i += 32) p.y[row * p.width + i] = load(x + row * p.width + i) / norm;
  }
}

}  // namespace

cudaError_t launch_normalize(const NormalizeParams& p, cudaStream_t stream) {
  return with_element(p.element, [&](auto element) {
    using T = decltype(element);
    normalize<<<blocks_for(p.rows, kWarps), dim3(32, kWarps), 0, stream>>>(static_cast<const T*>(p.x), p);
    return cudaGetLastError();
  });
}

}  // namespace bertie::cuda
