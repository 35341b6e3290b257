// A warp takes a row: lane l holds the 16-byte vectors l, l + 32, ... Both sums go through shuffles alone, so that a row costs one read of
// each operand, all of them in flight at once, and one write.
#include "cuda/kernels/warp_layer_norm.h"

#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/elements.cuh"

namespace bertie::cuda {
namespace {

constexpr int kWarps = 4;

template <typename T>
struct alignas(16) Vector {
  static constexpr int kWidth = 16 / sizeof(T);
  T values[kWidth];
};

template <typename T>
__device__ inline void add(float (&sum)[Vector<T>::kWidth], const void* rows, int64_t row, int64_t width, int vector) {
  const Vector<T> read = reinterpret_cast<const Vector<T>*>(static_cast<const T*>(rows) + row * width)[vector];
#pragma unroll
  for (int i = 0; i < Vector<T>::kWidth; ++i) sum[i] += load(&read.values[i]);
}

// kVectors: a lane's at most.
template <typename T, int kVectors>
__global__ void __launch_bounds__(kWarps * 32) warp_layer_norm(AnyLayerNormParams p) {
  begin_dependent();
  constexpr int kWidth = Vector<T>::kWidth;
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int lane = threadIdx.x % 32, vectors = static_cast<int>(p.width) / kWidth;
  const float count = static_cast<float>(p.width);
  bool bad = false;
  for (int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; row < rows; row += int64_t{gridDim.x} * kWarps) {
    float held[kVectors][kWidth] = {};
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int vector = lane + k * 32;
      if (vector >= vectors) continue;
      if (p.x) {
        add<T>(held[k], p.x, row, p.width, vector);
        if (p.residual) add<T>(held[k], p.residual, row, p.width, vector);
        continue;
      }
#pragma unroll
      for (int table = 0; table < 3; ++table) {
        if (!p.tables[table]) continue;
        const int64_t id = p.wide_ids[table] ? static_cast<const int64_t*>(p.ids[table])[row]
                                             : int64_t{static_cast<const int32_t*>(p.ids[table])[row]};
        add<T>(held[k], p.tables[table], id, p.width, vector);
      }
    }
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum += held[k][i];  // zeros where there is no vector
    }
    const float mean = warp_sum(sum) / count;
    float squares = 0;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      if (lane + k * 32 >= vectors) continue;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) squares += (held[k][i] - mean) * (held[k][i] - mean);
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) / count + p.epsilon);
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int vector = lane + k * 32;
      if (vector >= vectors) continue;
      Vector<T> written;
#pragma unroll
      for (int i = 0; i < kWidth; i += 4) {
        const float4 gamma = reinterpret_cast<const float4*>(p.gamma)[(vector * kWidth + i) / 4];
        const float4 beta = reinterpret_cast<const float4*>(p.beta)[(vector * kWidth + i) / 4];
        store(&written.values[i], (held[k][i] - mean) * scale * gamma.x + beta.x);
        store(&written.values[i + 1], (held[k][i + 1] - mean) * scale * gamma.y + beta.y);
        store(&written.values[i + 2], (held[k][i + 2] - mean) * scale * gamma.z + beta.z);
        store(&written.values[i + 3], (held[k][i + 3] - mean) * scale * gamma.w + beta.w);
      }
#pragma unroll
      for (int i = 0; i < kWidth; ++i) bad |= !isfinite(load(&written.values[i]));
      reinterpret_cast<Vector<T>*>(static_cast<T*>(p.y) + row * p.width)[vector] = written;
    }
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
}

template <typename T>
cudaError_t launch(const AnyLayerNormParams& p, cudaStream_t stream) {
  const unsigned blocks = blocks_for(p.rows, kWarps);
  const int64_t vectors = (p.width / Vector<T>::kWidth + 31) / 32;
  const auto kernel = vectors <= 2 ? warp_layer_norm<T, 2> : vectors <= 4 ? warp_layer_norm<T, 4> : warp_layer_norm<T, 8>;
  return launch_dependent(kernel, blocks, kWarps * 32, 0, stream, p);
}

}  // namespace

cudaError_t launch_warp_layer_norm(const AnyLayerNormParams& p, cudaStream_t stream) {
  if (!warp_layer_norm_takes(p.element, p.width)) return cudaErrorInvalidValue;
  return with_element(p.element, [&](auto type) { return launch<decltype(type)>(p, stream); });
}

}  // namespace bertie::cuda
