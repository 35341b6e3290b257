// A warp takes rows: lane l holds the 16-byte vectors l, l + 32, ... Both sums go through shuffles alone, so that a row costs one read of
// each operand, all of them in flight at once, and one write. gamma and beta stay in registers from row to row, and are there before the kernel
// before has ended, where no kernel makes them.
#include "cuda/kernels/warp_layer_norm.h"

#include <algorithm>

#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/reduce_block.cuh"

namespace bertie::cuda {
namespace {

constexpr int kWarps = 4, kBlocks = 4;  // of a block, and of a multiprocessor: of 128 registers a thread

template <typename T>
struct alignas(16) Vector {
  static constexpr int kWidth = 16 / sizeof(T);
  T values[kWidth];
};

// Adds a row to what a lane holds, all its vectors in flight at once: those beyond the row are its last, and are not added.
template <typename T, int kVectors>
__device__ inline void add(float (&sums)[kVectors][Vector<T>::kWidth], const void* rows, int64_t row, int64_t width, int lane,
                           int vectors) {
  const Vector<T>* from = reinterpret_cast<const Vector<T>*>(static_cast<const T*>(rows) + row * width);
  Vector<T> read[kVectors];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) read[k] = from[min(lane + k * 32, vectors - 1)];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
#pragma unroll
    for (int i = 0; i < Vector<T>::kWidth; ++i) sums[k][i] += lane + k * 32 < vectors ? load(&read[k].values[i]) : 0.0f;
  }
}

// Two rows likewise, both in flight.
template <typename T, int kVectors>
__device__ inline void add(float (&sums)[kVectors][Vector<T>::kWidth], const void* rows, const void* others, int64_t row,
                           int64_t width, int lane, int vectors) {
  const Vector<T>* from = reinterpret_cast<const Vector<T>*>(static_cast<const T*>(rows) + row * width);
  const Vector<T>* with = reinterpret_cast<const Vector<T>*>(static_cast<const T*>(others) + row * width);
  Vector<T> read[kVectors], other[kVectors];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    read[k] = from[min(lane + k * 32, vectors - 1)];
    other[k] = with[min(lane + k * 32, vectors - 1)];
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
#pragma unroll
    for (int i = 0; i < Vector<T>::kWidth; ++i) {
      const float sum = load(&read[k].values[i]) + load(&other[k].values[i]);
      sums[k][i] += lane + k * 32 < vectors ? sum : 0.0f;
    }
  }
}

// What is not finite, or was not.
__device__ inline float poisoned(float poison, float x) { return fmaf(x, 0.0f, poison); }

// kVectors: a lane's at most.
template <typename T, int kVectors>
__global__ void __launch_bounds__(kWarps * 32, kBlocks) warp_layer_norm(AnyLayerNormParams p) {
  constexpr int kWidth = Vector<T>::kWidth;
  if (!p.constant) begin_dependent();
  const int lane = threadIdx.x % 32, vectors = static_cast<int>(p.width) / kWidth;
  float gamma[kVectors][kWidth] = {}, beta[kVectors][kWidth] = {};
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
    if (lane + k * 32 >= vectors) continue;
    load_neighbours(p.gamma + (lane + k * 32) * kWidth, gamma[k]);
    load_neighbours(p.beta + (lane + k * 32) * kWidth, beta[k]);
  }
  if (p.constant) begin_dependent();
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const float share = 1.0f / static_cast<float>(p.width);
  float poison = 0;
  for (int64_t row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; row < rows; row += int64_t{gridDim.x} * kWarps) {
    float held[kVectors][kWidth] = {};
    if (p.x && p.residual) {
      add<T>(held, p.x, p.residual, row, p.width, lane, vectors);
    } else if (p.x) {
      add<T>(held, p.x, row, p.width, lane, vectors);
    } else {
#pragma unroll
      for (int table = 0; table < 3; ++table) {
        if (!p.tables[table]) continue;
        const int64_t id = p.wide_ids[table] ? static_cast<const int64_t*>(p.ids[table])[row]
                                             : int64_t{static_cast<const int32_t*>(p.ids[table])[row]};
        add<T>(held, p.tables[table], id, p.width, lane, vectors);
      }
    }
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
#pragma unroll
      for (int i = 0; i < kWidth; ++i) sum += held[k][i];  // zeros where there is no vector
    }
    const float mean = warp_sum(sum) * share;
    float squares = 0;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      if (lane + k * 32 >= vectors) continue;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) squares += (held[k][i] - mean) * (held[k][i] - mean);
    }
    const float scale = 1.0f / sqrtf(warp_sum(squares) * share + p.epsilon);
    uint32_t largest = 0;
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      const int vector = lane + k * 32;
      if (vector >= vectors) continue;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        held[k][i] = fmaf((held[k][i] - mean) * scale, gamma[k][i], beta[k][i]);
        if (p.quantized.scales) largest = max(largest, magnitude(held[k][i]));
      }
      if (!p.y) {
#pragma unroll
        for (int i = 0; i < kWidth; ++i) poison = poisoned(poison, held[k][i]);
        continue;
      }
      Vector<T> written;
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        store(&written.values[i], held[k][i]);
        poison = poisoned(poison, load(&written.values[i]));
      }
      reinterpret_cast<Vector<T>*>(static_cast<T*>(p.y) + row * p.width)[vector] = written;
    }
    if (!p.quantized.values) continue;
    float inverse = 0;
    if (p.quantized.scales) {
      largest = reduce_block<32>(largest, larger_magnitude);
      inverse = eight_bit_inverse(p.quantized, largest);
      if (lane == 0) p.quantized.scales[row] = eight_bit_scale(p.quantized, largest);
    }
#pragma unroll
    for (int k = 0; k < kVectors; ++k) {
      if (lane + k * 32 >= vectors) continue;
      store_eight_bits(p.quantized, row, p.width, (lane + k * 32) * kWidth, held[k], inverse);
    }
  }
  if (p.overflow && !(poison == 0.0f)) atomicMin(p.overflow, p.step);
}

template <typename T>
cudaError_t launch(const AnyLayerNormParams& p, cudaStream_t stream) {
  int multiprocessors = 0;
  cudaError_t error = count_multiprocessors(multiprocessors);
  if (error != cudaSuccess) return error;
  const unsigned blocks = std::min(blocks_for(p.rows, kWarps), static_cast<unsigned>(multiprocessors * kBlocks));
  const int64_t vectors = (p.width / Vector<T>::kWidth + 31) / 32;
  auto kernel = vectors <= 2 ? warp_layer_norm<T, 2> : vectors == 3 ? warp_layer_norm<T, 3> : warp_layer_norm<T, 4>;
  if constexpr (sizeof(T) == 4) {
    if (vectors > 4) kernel = warp_layer_norm<T, 8>;
  }
  return launch_dependent(kernel, blocks, kWarps * 32, 0, stream, p);
}

}  // namespace

cudaError_t launch_warp_layer_norm(const AnyLayerNormParams& p, cudaStream_t stream) {
  if (!warp_layer_norm_takes(p.element, p.width)) return cudaErrorInvalidValue;
  return with_element(p.element, [&](auto type) { return launch<decltype(type)>(p, stream); });
}

}  // namespace bertie::cuda
