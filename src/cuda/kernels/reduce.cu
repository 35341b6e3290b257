// A warp an element of y where few terms go into each, else a block of 8.
#include "cuda/kernels/reduce.h"

#include "cuda/kernels/reduce_block.cuh"

namespace bertie::cuda {
namespace {

__device__ inline int64_t offset_of(int64_t index, int axes, const int64_t* extents, const int64_t* strides) {
  int64_t offset = 0;
  for (int axis = axes - 1; axis >= 0; --axis) {
    offset += index % extents[axis] * strides[axis];
    index /= extents[axis];
  }
  return offset;
}

__device__ inline float larger(float a, float b) { return a != a || a > b ? a : b; }  // NaN wins
__device__ inline float smaller(float a, float b) { return a != a || a < b ? a : b; }

template <int kThreads>
__global__ void __launch_bounds__(256) reduce(ReduceParams p) {
  const int64_t row = blockIdx.x * int64_t{blockDim.y} + threadIdx.y;
  if (row >= p.count) return;  // kThreads of a row leave together
  const float* x = p.x + offset_of(row, p.kept_axes, p.kept_extents, p.kept_strides);
  const auto over_terms = [&](float value, auto join) {
    for (int64_t i = threadIdx.x; i < p.terms; i += kThreads) value = join(value, x[offset_of(i, p.axes, p.extents, p.strides)]);
    return value;
  };
  const auto sum_of = [&](auto term) {
    const float own = over_terms(0.0f, [&](float a, float b) { return a + term(b); });
    return reduce_block<kThreads>(own, [](float a, float b) { return a + b; });
  };
  const auto largest = [&] { return reduce_block<kThreads>(over_terms(-INFINITY, larger), larger); };
  float result = 0;
  switch (p.function) {
    case ReduceFunction::mean: result = sum_of([](float v) { return v; }) / static_cast<float>(p.terms); break;
    case ReduceFunction::sum: result = sum_of([](float v) { return v; }); break;
    case ReduceFunction::max: result = largest(); break;
    case ReduceFunction::min: result = reduce_block<kThreads>(over_terms(INFINITY, smaller), smaller); break;
    case ReduceFunction::prod: {
      const auto times = [](float a, float b) { return a * b; };
      result = reduce_block<kThreads>(over_terms(1.0f, times), times);
      break;
    }
    case ReduceFunction::l1: result = sum_of([](float v) { return fabsf(v); }); break;
    case ReduceFunction::l2: result = sqrtf(sum_of([](float v) { return v * v; })); break;
    case ReduceFunction::sum_square: result = sum_of([](float v) { return v * v; }); break;
    case ReduceFunction::log_sum: result = logf(sum_of([](float v) { return v; })); break;
    case ReduceFunction::log_sum_exp: {
      const float top = largest();
      result = isfinite(top) ? top + logf(sum_of([top](float v) { return expf(v - top); })) : top;
      break;
    }
  }
  if (threadIdx.x == 0) p.y[row] = result;
}

}  // namespace

cudaError_t launch_reduce(const ReduceParams& p, cudaStream_t stream) {
  constexpr int kRows = 8;
  if (p.count == 0) return cudaSuccess;
  if (p.terms <= 1024)
    reduce<32><<<static_cast<unsigned>((p.count + kRows - 1) / kRows), dim3(32, kRows), 0, stream>>>(p);
  else
    reduce<256><<<static_cast<unsigned>(p.count), dim3(256, 1), 0, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace bertie::cuda
