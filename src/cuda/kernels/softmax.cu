// A warp a row up to 1024 elements, else a block of 8: the largest, the sum of what the others are to it, and the result, in three passes of
// which the second and third find their row in the cache.
#include "cuda/kernels/softmax.h"

#include "cuda/kernels/reduce_block.cuh"

namespace bertie::cuda {
namespace {

// kThreads: of one row, whole warps.
template <int kThreads>
__global__ void __launch_bounds__(256) softmax(SoftmaxParams p) {
  const int64_t row = blockIdx.x * int64_t{blockDim.y} + threadIdx.y;
  if (row >= p.outer * p.inner) return;  // kThreads of a row leave together
  const int64_t at = row / p.inner * p.extent * p.inner + row % p.inner;
  const float* x = p.x + at;
  float* y = p.y + at;
  float largest = -INFINITY;
  for (int64_t i = threadIdx.x; i < p.extent; i += kThreads) {
    const float value = x[i * p.inner];
    largest = value != value || value > largest ? value : largest;  // NaN stays
  }
  largest = reduce_block<kThreads>(largest, [](float a, float b) { return b != b || b > a ? b : a; });
  float sum = 0;
  for (int64_t i = threadIdx.x; i < p.extent; i += kThreads) sum += expf(x[i * p.inner] - largest);
  sum = reduce_block<kThreads>(sum, [](float a, float b) { return a + b; });
  const float scale = 1.0f / sum, offset = logf(sum);
  for (int64_t i = threadIdx.x; i < p.extent; i += kThreads) {
    const float value = x[i * p.inner] - largest;
    y[i * p.inner] = p.logarithm ? value - offset : expf(value) * scale;
  }
}

}  // namespace

cudaError_t launch_softmax(const SoftmaxParams& p, cudaStream_t stream) {
  constexpr int kRows = 8;
  const int64_t rows = p.outer * p.inner;
  if (rows == 0) return cudaSuccess;
  if (p.extent <= 1024)
    softmax<32><<<static_cast<unsigned>((rows + kRows - 1) / kRows), dim3(32, kRows), 0, stream>>>(p);
  else
    softmax<256><<<static_cast<unsigned>(rows), dim3(256, 1), 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace bertie::cuda
