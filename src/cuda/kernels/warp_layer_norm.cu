// A warp takes a row: lane l holds the 16-byte vectors l, l + 32, ... Both sums go through shuffles alone, so that a row costs one read of
// each operand, all of them in flight at once, and one write.
#include "cuda/kernels/warp_layer_norm.h"

#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/reduce_block.cuh"

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

// kVectors: a lane's at most. kEarly: gamma and beta are there before x is, in registers, of which many rows at a time need few.
template <typename T, int kVectors, bool kEarly>
__global__ void __launch_bounds__(kWarps * 32) warp_layer_norm(AnyLayerNormParams p) {
  constexpr int kWidth = Vector<T>::kWidth;
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int lane = threadIdx.x % 32, vectors = static_cast<int>(p.width) / kWidth;
  const float count = static_cast<float>(p.width);
  float gamma[kVectors][kWidth], beta[kVectors][kWidth];
  const auto load_vector = [&](int k) {
    load_neighbours(p.gamma + (lane + k * 32) * kWidth, gamma[k]);
    load_neighbours(p.beta + (lane + k * 32) * kWidth, beta[k]);
  };
  if constexpr (kEarly) {
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      if (lane + k * 32 < vectors) load_vector(k);
    }
  }
  begin_dependent();
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
    uint32_t largest = 0;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int vector = lane + k * 32;
      if (vector >= vectors) continue;
      if constexpr (!kEarly) load_vector(k);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        held[k][i] = fmaf((held[k][i] - mean) * scale, gamma[k][i], beta[k][i]);
        largest = max(largest, magnitude(held[k][i]));
      }
      if (!p.y) continue;
      Vector<T> written;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        store(&written.values[i], held[k][i]);
        bad |= !isfinite(load(&written.values[i]));
      }
      reinterpret_cast<Vector<T>*>(static_cast<T*>(p.y) + row * p.width)[vector] = written;
    }
    if (!p.quantized.values) continue;
    float inverse = 0;
    if (p.quantized.scales) {
      largest = reduce_block<32>(largest, larger_magnitude);
      inverse = int8_inverse(largest);
      if (lane == 0) p.quantized.scales[row] = int8_scale(largest);
    }
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      if (lane + k * 32 >= vectors) continue;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) bad |= !isfinite(held[k][i]);
      store_int8(p.quantized, row, p.width, (lane + k * 32) * kWidth, held[k], inverse);
    }
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
}

template <typename T, bool kEarly>
cudaError_t launch(const AnyLayerNormParams& p, unsigned blocks, cudaStream_t stream) {
  const int64_t vectors = (p.width / Vector<T>::kWidth + 31) / 32;
  const auto kernel = vectors <= 2   ? warp_layer_norm<T, 2, kEarly>
                      : vectors <= 4 ? warp_layer_norm<T, 4, kEarly>
                                     : warp_layer_norm<T, 8, kEarly>;
  return launch_dependent(kernel, blocks, kWarps * 32, 0, stream, p);
}

}  // namespace

cudaError_t launch_warp_layer_norm(const AnyLayerNormParams& p, cudaStream_t stream) {
  if (!warp_layer_norm_takes(p.element, p.width)) return cudaErrorInvalidValue;
  int device = 0, multiprocessors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  const unsigned blocks = blocks_for(p.rows, kWarps);
  return with_element(p.element, [&](auto type) {
    using T = decltype(type);
    // As many as are there at once whatever registers they take.
    return blocks <= 4u * static_cast<unsigned>(multiprocessors) ? launch<T, true>(p, blocks, stream)
                                                                 : launch<T, false>(p, blocks, stream);
  });
}

}  // namespace bertie::cuda
