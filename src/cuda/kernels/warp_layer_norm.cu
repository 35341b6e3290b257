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

constexpr int kWarps = 4;  // of a block
// Of a multiprocessor: of 128 registers a thread, or where rows come in parts, which take more, and are few, of 255.
constexpr int blocks_at_a_time(int parts) { return parts > 1 ? 2 : 4; }

template <typename T>
struct alignas(16) Vector {
  static constexpr int kWidth = 16 / sizeof(T);
  T values[kWidth];
};

// Adds a row of each source to what a lane holds, all their vectors in flight at once: those beyond the row are its last, and are not added.
template <typename T, int kVectors, int kSources>
__device__ inline void add(float (&sums)[kVectors][Vector<T>::kWidth], const T* const (&sources)[kSources], int lane,
                           int vectors) {
  Vector<T> read[kSources][kVectors];
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
#pragma unroll
    for (int source = 0; source < kSources; ++source)
      read[source][k] = reinterpret_cast<const Vector<T>*>(sources[source])[min(lane + k * 32, vectors - 1)];
  }
#pragma unroll
  for (int k = 0; k < kVectors; ++k) {
#pragma unroll
    for (int i = 0; i < Vector<T>::kWidth; ++i) {
      float sum = load(&read[0][k].values[i]);
#pragma unroll
      for (int source = 1; source < kSources; ++source) sum += load(&read[source][k].values[i]);
      sums[k][i] += lane + k * 32 < vectors ? sum : 0.0f;
    }
  }
}

// What is not finite, or was not.
__device__ inline float poisoned(float poison, float x) { return fmaf(x, 0.0f, poison); }

// kVectors: a lane's at most. kParts: of x.
template <typename T, int kVectors, int kParts>
__global__ void __launch_bounds__(kWarps * 32, blocks_at_a_time(kParts)) warp_layer_norm(AnyLayerNormParams p) {
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
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  if (p.constant) begin_dependent();
  const float share = 1.0f / static_cast<float>(p.width);
  float poison = 0;
  const bool backward = is_backward(p.step, rows);
  for (int64_t turn = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; turn < rows; turn += int64_t{gridDim.x} * kWarps) {
    const int64_t row = backward ? rows - 1 - turn : turn;
    float held[kVectors][kWidth] = {};
    const auto at = [&](const void* rows, int64_t index) { return static_cast<const T*>(rows) + index * p.width; };
    if constexpr (kParts > 1) {
      const T* sources[kParts + 1];
#pragma unroll
      for (int part = 0; part < kParts; ++part) sources[part] = at(p.x, part * p.rows + row);
      sources[kParts] = at(p.residual, row);
      add<T, kVectors, kParts + 1>(held, sources, lane, vectors);
    } else if (p.x && p.residual) {
      add<T, kVectors, 2>(held, {at(p.x, row), at(p.residual, row)}, lane, vectors);
    } else if (p.x) {
      add<T, kVectors, 1>(held, {at(p.x, row)}, lane, vectors);
    } else {
#pragma unroll
      for (int table = 0; table < 3; ++table) {
        if (!p.tables[table]) continue;
        const int64_t id = p.wide_ids[table] ? static_cast<const int64_t*>(p.ids[table])[row]
                                             : int64_t{static_cast<const int32_t*>(p.ids[table])[row]};
        add<T, kVectors, 1>(held, {at(p.tables[table], id)}, lane, vectors);
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

// `vectors`: a lane's at most.
template <typename T>
auto kernel_of(int64_t vectors, int parts) -> void (*)(AnyLayerNormParams) {
  if constexpr (sizeof(T) == 4) {
    if (parts > 1) return nullptr;
    if (vectors > 4) return warp_layer_norm<T, 8, 1>;
  } else {
    if (parts == 2) return vectors <= 3 ? warp_layer_norm<T, 3, 2> : warp_layer_norm<T, 4, 2>;
    if (parts == 3) return vectors <= 3 ? warp_layer_norm<T, 3, 3> : warp_layer_norm<T, 4, 3>;
    if (parts == 4) return vectors <= 3 ? warp_layer_norm<T, 3, 4> : warp_layer_norm<T, 4, 4>;
  }
  return vectors <= 2 ? warp_layer_norm<T, 2, 1> : vectors == 3 ? warp_layer_norm<T, 3, 1> : warp_layer_norm<T, 4, 1>;
}

template <typename T>
cudaError_t launch(const AnyLayerNormParams& p, cudaStream_t stream) {
  int multiprocessors = 0;
  const cudaError_t error = count_multiprocessors(multiprocessors);
  if (error != cudaSuccess) return error;
  const unsigned blocks =
      std::min(blocks_for(p.rows, kWarps), static_cast<unsigned>(multiprocessors * blocks_at_a_time(p.parts)));
  const auto kernel = kernel_of<T>((p.width / Vector<T>::kWidth + 31) / 32, p.parts);
  return kernel ? launch_dependent(kernel, blocks, kWarps * 32, 0, stream, p) : cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_warp_layer_norm(const AnyLayerNormParams& p, cudaStream_t stream) {
  if (!warp_layer_norm_takes(p.element, p.width) || p.parts > kMostLayerNormParts || (p.parts > 1 && (!p.x || !p.residual)))
    return cudaErrorInvalidValue;
  return with_element(p.element, [&](auto type) { return launch<decltype(type)>(p, stream); });
}

}  // namespace bertie::cuda
