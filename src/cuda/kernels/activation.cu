// Eight elements a thread and turn where x and y allow it: 16-byte accesses in 16 bits. Bound by memory: x is read and y written once.
#include "cuda/kernels/activation.cuh"

#include "cuda/kernels/dependent_launch.cuh"

namespace bertie::cuda {
namespace {

template <typename T>
struct alignas(sizeof(T) * 8 > 16 ? 16 : sizeof(T) * 8) Eight {
  T values[8];
};

template <typename X, typename Y>
__global__ void activation(const X* x, Y* y, ActivationParams p) {
  begin_dependent();
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int64_t count = rows * p.width, eights = count / 8;
  const int64_t start = blockIdx.x * int64_t{blockDim.x} + threadIdx.x, stride = gridDim.x * int64_t{blockDim.x};
  float poison = 0;  // NaN once a value is not finite
  for (int64_t i = start; i < eights; i += stride) {
    const Eight<X> from = reinterpret_cast<const Eight<X>*>(x)[i];
    Eight<Y> to;
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const float value = load(&from.values[k]);
      store(&to.values[k], apply<Y>(p.function, value));
      poison += value * 0.0f + load(&to.values[k]) * 0.0f;  // tanh(inf) is 1
    }
    reinterpret_cast<Eight<Y>*>(y)[i] = to;
  }
  for (int64_t i = eights * 8 + start; i < count; i += stride) {
    const float value = load(x + i);
    store(y + i, apply<Y>(p.function, value));
    poison += value * 0.0f + load(y + i) * 0.0f;
  }
  if (p.overflow && poison != 0) atomicMin(p.overflow, p.step);
}

}  // namespace

cudaError_t launch_activation(const ActivationParams& p, cudaStream_t stream) {
  constexpr int kThreads = 256;
  return with_element(p.x_element, [&](auto x) {
    return with_element(p.y_element, [&](auto y) {
      using X = decltype(x);
      using Y = decltype(y);
      return launch_dependent(activation<X, Y>, blocks_for((p.rows * p.width + 7) / 8, kThreads), kThreads, 0, stream,
                              static_cast<const X*>(p.x), static_cast<Y*>(p.y), p);
    });
  });
}

}  // namespace bertie::cuda
