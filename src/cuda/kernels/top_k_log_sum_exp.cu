// A block takes a row, a thread every 1024th piece of it, from memory once and then from the caches. Each thread knows the best of its elements that
// has not been taken; the block finds the best of those k times, and only the thread that it was taken from looks for its next.
#include "cuda/kernels/top_k_log_sum_exp.h"

#include "cuda/kernels/reduce_block.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 1024;

struct Candidate {
  float value;
  int32_t place;  // INT32_MAX: there is none
};

// NaN counts as less than everything, in the order of places.
__device__ inline bool better(const Candidate& a, const Candidate& b) {
  if (a.place == INT32_MAX || b.place == INT32_MAX) return a.place < b.place;
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan || b_nan) return a_nan == b_nan ? a.place < b.place : b_nan;
  return a.value != b.value ? a.value > b.value : a.place < b.place;
}

__device__ inline Candidate best_of_block(Candidate own) {
  __shared__ Candidate warps[kThreads / 32];
  const auto over_warp = [](Candidate candidate) {
    for (int lane = 16; lane > 0; lane /= 2) {
      const Candidate other{__shfl_xor_sync(0xffffffffu, candidate.value, lane),
                            __shfl_xor_sync(0xffffffffu, candidate.place, lane)};
      if (better(other, candidate)) candidate = other;
    }
    return candidate;
  };
  own = over_warp(own);
  __syncthreads();  // what was there before has been read
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = own;
  __syncthreads();
  return over_warp(warps[threadIdx.x % 32]);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) top_k_log_sum_exp(TopKLogSumExpParams p) {
  static_assert(kThreads == 32 * 32, "a warp finds the best of the warps");
  const int64_t row = blockIdx.x;
  if (p.live_rows && row >= *p.live_rows) return;
  const T* x = static_cast<const T*>(p.x) + row * p.extent;
  float* y = p.y + row * (2 * p.k + 1);
  const int extent = static_cast<int>(p.extent);

  Candidate own{0, INT32_MAX};
  bool bad = false;
  for (int i = threadIdx.x; i < extent; i += kThreads) {
    const Candidate next{load(x + i), i};
    bad |= !isfinite(next.value);
    if (better(next, own)) own = next;
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
  Candidate best = best_of_block(own);
  const float largest = best.value;
  float sum = 0;
  for (int i = threadIdx.x; i < extent; i += kThreads) sum += expf(load(x + i) - largest);
  sum = reduce_block<kThreads>(sum, [](float a, float b) { return a + b; });
  if (threadIdx.x == 0) y[2 * p.k] = isfinite(largest) ? largest + logf(sum) : largest;

  for (int taken = 0;; best = best_of_block(own)) {
    if (threadIdx.x == 0) {
      y[taken] = best.value;
      y[p.k + taken] = static_cast<float>(best.place);
    }
    if (++taken == p.k) return;
    if (best.place != own.place) continue;
    own.place = INT32_MAX;
    for (int i = threadIdx.x; i < extent; i += kThreads) {
      const Candidate next{load(x + i), i};
      if (better(best, next) && better(next, own)) own = next;
    }
  }
}

}  // namespace

cudaError_t launch_top_k_log_sum_exp(const TopKLogSumExpParams& p, cudaStream_t stream) {
  if (p.rows == 0) return cudaSuccess;
  return with_element(p.element, [&](auto element) {
    using T = decltype(element);
    top_k_log_sum_exp<T><<<static_cast<unsigned>(p.rows), kThreads, 0, stream>>>(p);
    return cudaGetLastError();
  });
}

}  // namespace bertie::cuda
