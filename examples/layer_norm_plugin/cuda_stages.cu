#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <stdexcept>
#include <string>

#include "cuda_stages.h"

namespace layer_norm::cuda {
namespace {

constexpr int kThreads = 256;

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

// The calling thread may have another device in use.
cudaStream_t stream_of(const Queue& queue) {
  check(cudaSetDevice(queue.device));
  return static_cast<cudaStream_t>(queue.stream);
}

// ---- Stage 1: what one writes first. A kernel for each quantity, which all pass through memory. ----

// The sum of the block's values, in thread 0.
__device__ float block_sum(float value) {
  __shared__ float values[kThreads];
  __syncthreads();  // what was there before has been read
  values[threadIdx.x] = value;
  for (int width = kThreads / 2; width > 0; width /= 2) {
    __syncthreads();
    if (threadIdx.x < width) values[threadIdx.x] += values[threadIdx.x + width];
  }
  return values[0];
}

__global__ void means(const float* x, float* mean, int64_t extent) {
  const float* row = x + blockIdx.x * extent;
  float sum = 0;
  for (int64_t i = threadIdx.x; i < extent; i += kThreads) sum += row[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) mean[blockIdx.x] = sum / static_cast<float>(extent);
}

__global__ void variances(const float* x, const float* mean, float* variance, int64_t extent) {
  const float* row = x + blockIdx.x * extent;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < extent; i += kThreads) {
    const float centred = row[i] - mean[blockIdx.x];
    squares += centred * centred;
  }
  squares = block_sum(squares);
  if (threadIdx.x == 0) variance[blockIdx.x] = squares / static_cast<float>(extent);
}

__global__ void normalise(Rows rows, const float* mean, const float* variance, int64_t elements) {
  const int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x;
  if (i >= elements) return;
  const int64_t row = i / rows.extent, column = i % rows.extent;
  const float factor = 1 / sqrtf(variance[row] + rows.epsilon);
  static_cast<float*>(rows.out)[i] =
      (static_cast<const float*>(rows.x)[i] - mean[row]) * factor * rows.gamma[column] + rows.beta[column];
}

// ---- Stage 2: the same in one kernel. The row comes from memory once, and twice from the cache. ----

__global__ void one_kernel(Rows rows) {
  __shared__ float statistics[2];
  const float* row = static_cast<const float*>(rows.x) + blockIdx.x * rows.extent;
  float* out = static_cast<float*>(rows.out) + blockIdx.x * rows.extent;
  const float extent = static_cast<float>(rows.extent);
  float sum = 0;
  for (int64_t i = threadIdx.x; i < rows.extent; i += kThreads) sum += row[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) statistics[0] = sum / extent;
  __syncthreads();
  const float mean = statistics[0];
  float squares = 0;
  for (int64_t i = threadIdx.x; i < rows.extent; i += kThreads) squares += (row[i] - mean) * (row[i] - mean);
  squares = block_sum(squares);
  if (threadIdx.x == 0) statistics[1] = 1 / sqrtf(squares / extent + rows.epsilon);
  __syncthreads();
  const float factor = statistics[1];
  for (int64_t i = threadIdx.x; i < rows.extent; i += kThreads) out[i] = (row[i] - mean) * factor * rows.gamma[i] + rows.beta[i];
}

// ---- Stage 3: vectors of 16 bytes, sums by warp shuffles, two passes over a row in registers. ----

__device__ inline float warp_sum(float value) {
  for (int lane = 16; lane > 0; lane /= 2) value += __shfl_xor_sync(0xffffffffu, value, lane);
  return value;
}

// 16 bytes of a row as floats.
template <typename T>
struct Vector {
  static constexpr int kCount = 16 / sizeof(T);
  float values[kCount];
};
__device__ inline void load(const float* from, Vector<float>& to) {
  const float4 bits = *reinterpret_cast<const float4*>(from);
  to.values[0] = bits.x, to.values[1] = bits.y, to.values[2] = bits.z, to.values[3] = bits.w;
}
__device__ inline void store(float* to, const Vector<float>& from) {
  *reinterpret_cast<float4*>(to) = make_float4(from.values[0], from.values[1], from.values[2], from.values[3]);
}
__device__ inline void load(const __half* from, Vector<__half>& to) {
  union {
    uint4 bits;
    __half2 pairs[4];
  } own{*reinterpret_cast<const uint4*>(from)};
  for (int i = 0; i < 4; ++i) {
    const float2 pair = __half22float2(own.pairs[i]);
    to.values[2 * i] = pair.x, to.values[2 * i + 1] = pair.y;
  }
}
__device__ inline void store(__half* to, const Vector<__half>& from) {
  union {
    uint4 bits;
    __half2 pairs[4];
  } own;
  for (int i = 0; i < 4; ++i) own.pairs[i] = __floats2half2_rn(from.values[2 * i], from.values[2 * i + 1]);
  *reinterpret_cast<uint4*>(to) = own.bits;
}

// kVectors: of a lane, at most. Rows are whole vectors.
template <typename T, int kVectors>
__global__ void __launch_bounds__(kThreads) in_registers(Rows rows, int64_t count) {
  constexpr int kCount = Vector<T>::kCount;
  const int64_t row = blockIdx.x * int64_t{kThreads / 32} + threadIdx.x / 32;
  if (row >= count) return;
  const int lane = threadIdx.x % 32, vectors = static_cast<int>(rows.extent) / kCount;
  const T* x = static_cast<const T*>(rows.x) + row * rows.extent;
  T* out = static_cast<T*>(rows.out) + row * rows.extent;
  const float extent = static_cast<float>(rows.extent);
  Vector<T> own[kVectors];
  float sum = 0;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (v * 32 + lane >= vectors) continue;
    load(x + (v * 32 + lane) * kCount, own[v]);
    for (int i = 0; i < kCount; ++i) sum += own[v].values[i];
  }
  const float mean = warp_sum(sum) / extent;
  float squares = 0;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (v * 32 + lane >= vectors) continue;
    for (int i = 0; i < kCount; ++i) {
      own[v].values[i] -= mean;
      squares += own[v].values[i] * own[v].values[i];
    }
  }
  const float factor = 1 / sqrtf(warp_sum(squares) / extent + rows.epsilon);
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (v * 32 + lane >= vectors) continue;
    const int64_t column = (v * 32 + lane) * kCount;
    for (int part = 0; part < kCount; part += 4) {
      const float4 gamma = *reinterpret_cast<const float4*>(rows.gamma + column + part);
      const float4 beta = *reinterpret_cast<const float4*>(rows.beta + column + part);
      float* values = own[v].values + part;
      values[0] = values[0] * factor * gamma.x + beta.x;
      values[1] = values[1] * factor * gamma.y + beta.y;
      values[2] = values[2] * factor * gamma.z + beta.z;
      values[3] = values[3] * factor * gamma.w + beta.w;
    }
    store(out + column, own[v]);
  }
}

__device__ inline float widened(float value) { return value; }
__device__ inline float widened(__half value) { return __half2float(value); }
__device__ inline void narrow(float value, float& to) { to = value; }
__device__ inline void narrow(float value, __half& to) { to = __float2half_rn(value); }

// Rows of any width: a block each, an element a thread and turn.
template <typename T>
__global__ void __launch_bounds__(kThreads) any_width(Rows rows) {
  __shared__ float warps[2][kThreads / 32];
  const T* x = static_cast<const T*>(rows.x) + blockIdx.x * rows.extent;
  T* out = static_cast<T*>(rows.out) + blockIdx.x * rows.extent;
  const float extent = static_cast<float>(rows.extent);
  const auto total = [&](float value, float* sums) {
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0;
    for (int warp = 0; warp < kThreads / 32; ++warp) value += sums[warp];
    return value;
  };
  float sum = 0;
  for (int64_t i = threadIdx.x; i < rows.extent; i += kThreads) sum += widened(x[i]);
  const float mean = total(sum, warps[0]) / extent;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < rows.extent; i += kThreads) squares += (widened(x[i]) - mean) * (widened(x[i]) - mean);
  const float factor = 1 / sqrtf(total(squares, warps[1]) / extent + rows.epsilon);
  for (int64_t i = threadIdx.x; i < rows.extent; i += kThreads)
    narrow((widened(x[i]) - mean) * factor * rows.gamma[i] + rows.beta[i], out[i]);
}

template <typename T>
void run_stage_3(const Rows& rows, int64_t count, cudaStream_t stream) {
  constexpr int64_t kWarpWidth = 32 * Vector<T>::kCount;  // elements of a vector a lane
  const unsigned blocks = static_cast<unsigned>((count + kThreads / 32 - 1) / (kThreads / 32));
  if (rows.extent % Vector<T>::kCount != 0 || rows.extent > 8 * kWarpWidth)
    any_width<T><<<static_cast<unsigned>(count), kThreads, 0, stream>>>(rows);
  else if (rows.extent <= 2 * kWarpWidth)
    in_registers<T, 2><<<blocks, kThreads, 0, stream>>>(rows, count);
  else if (rows.extent <= 4 * kWarpWidth)
    in_registers<T, 4><<<blocks, kThreads, 0, stream>>>(rows, count);
  else
    in_registers<T, 8><<<blocks, kThreads, 0, stream>>>(rows, count);
}

}  // namespace

void normalise_in_several_kernels(const Rows& rows, int64_t count, float* statistics, const Queue& queue) {
  if (count == 0) return;
  const cudaStream_t own = stream_of(queue);
  const auto* x = static_cast<const float*>(rows.x);
  float *mean = statistics, *variance = statistics + count;
  const int64_t elements = count * rows.extent;
  means<<<static_cast<unsigned>(count), kThreads, 0, own>>>(x, mean, rows.extent);
  variances<<<static_cast<unsigned>(count), kThreads, 0, own>>>(x, mean, variance, rows.extent);
  normalise<<<static_cast<unsigned>((elements + kThreads - 1) / kThreads), kThreads, 0, own>>>(rows, mean, variance, elements);
  check(cudaGetLastError());
}

void normalise_in_one_kernel(const Rows& rows, int64_t count, const Queue& queue) {
  if (count == 0) return;
  one_kernel<<<static_cast<unsigned>(count), kThreads, 0, stream_of(queue)>>>(rows);
  check(cudaGetLastError());
}

void normalise_in_registers(const Rows& rows, int64_t count, const Queue& queue) {
  if (count == 0) return;
  if (rows.half)
    run_stage_3<__half>(rows, count, stream_of(queue));
  else
    run_stage_3<float>(rows, count, stream_of(queue));
  check(cudaGetLastError());
}

}  // namespace layer_norm::cuda
