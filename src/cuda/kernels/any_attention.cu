// A block takes a tile and a head: 8 warps, 4 queries each. Keys come in pieces of 32: K and V of a piece lie in shared memory as float32
// (K with padded rows, so that lanes of different keys meet no bank twice); lane j of a warp scores key j, the maximum and the sum go
// through shuffles, and the softmax is online: results so far are rescaled when a piece has a larger score. A lane then sums the columns
// j, j + 32, ... of the result.
#include "cuda/kernels/any_attention.h"

#include "cuda/kernels/attention.cuh"
#include "cuda/kernels/quantized_rows.cuh"

namespace bertie::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * 32, kKeys = 32;
constexpr int kQueriesOfWarp = kAnyAttentionQueries / kWarps;

__device__ inline float warp_max(float value) {
  for (int lane = 16; lane > 0; lane /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, lane));
  return value;
}

// kColumns: ceil(head_dim / 32).
template <typename T, int kColumns>
__global__ void __launch_bounds__(kThreads) any_attention(AnyAttentionParams p) {
  if (!has_tile(p)) return;
  const AttentionTile tile = tile_of_block(p, kAnyAttentionQueries);
  const int head = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32, width = p.head_dim;
  extern __shared__ float memory[];
  float* queries = memory;                               // [kAnyAttentionQueries][width]
  float* keys = queries + kAnyAttentionQueries * width;  // [kKeys][width + 1]
  float* values = keys + kKeys * (width + 1);            // [kKeys][width]
  const T* q = static_cast<const T*>(p.q) + head * width;
  const T* k = static_cast<const T*>(p.k) + head * width;
  const T* v = static_cast<const T*>(p.v) + head * width;

  // Without keys the query's row may not exist: the first of an empty last sequence.
  for (int i = threadIdx.x; tile.key_count > 0 && i < tile.query_count * width; i += kThreads)
    queries[i] = load(q + query_row(p, tile, i / width) * p.row_stride + i % width) * p.scale;

  float largest[kQueriesOfWarp], total[kQueriesOfWarp], sums[kQueriesOfWarp][kColumns];
#pragma unroll
  for (int i = 0; i < kQueriesOfWarp; ++i) {
    largest[i] = -INFINITY;
    total[i] = 0;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) sums[i][c] = 0;
  }
  for (int begin = 0; begin < tile.key_count; begin += kKeys) {
    const int count = min(kKeys, tile.key_count - begin);
    __syncthreads();
    for (int i = threadIdx.x; i < count * width; i += kThreads) {
      const int64_t offset = (tile.key_begin + begin + i / width) * p.row_stride + i % width;
      keys[i / width * (width + 1) + i % width] = load(k + offset);
      values[i] = load(v + offset);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kQueriesOfWarp; ++i) {
      const int query = warp * kQueriesOfWarp + i;
      if (query >= tile.query_count) continue;
      float score = -INFINITY;
      if (lane < count) {
        score = 0;
        for (int d = 0; d < width; ++d) score += queries[query * width + d] * keys[lane * (width + 1) + d];
        if (p.relative_bias) score += relative_bias(p, head, query_row(p, tile, query), tile.key_begin + begin + lane);
        if (p.bias) score += held_bias(p, bias_row(p, tile, head, query)[begin + lane]);
        if (!counts(p.mask, tile.key_begin + begin + lane)) score = -INFINITY;
      }
      const float larger = fmaxf(largest[i], warp_max(score));
      // All scores so far are -inf: nothing is scaled by inf - inf.
      const float rescale = larger == -INFINITY ? 1.0f : __expf(largest[i] - larger);
      const float weight = lane < count && larger != -INFINITY ? __expf(score - larger) : 0.0f;
      total[i] = total[i] * rescale + warp_sum(weight);
      largest[i] = larger;
#pragma unroll
      for (int c = 0; c < kColumns; ++c) sums[i][c] *= rescale;
      for (int j = 0; j < count; ++j) {
        const float own = __shfl_sync(0xffffffffu, weight, j);
#pragma unroll
        for (int c = 0; c < kColumns; ++c) {
          if (c * 32 + lane < width) sums[i][c] += own * values[j * width + c * 32 + lane];
        }
      }
    }
  }
  bool bad = false;
#pragma unroll
  for (int i = 0; i < kQueriesOfWarp; ++i) {
    const int query = warp * kQueriesOfWarp + i;
    if (query >= tile.query_count) continue;
    const float scale = total[i] != 0.0f ? 1.0f / total[i] : 0.0f;  // of no keys the result is 0
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (c * 32 + lane >= width) continue;
      const int column = head * width + c * 32 + lane;
      T rounded;
      store(&rounded, sums[i][c] * scale);
      const float result[] = {load(&rounded)};
      bad |= !isfinite(result[0]);
      const int64_t row = tile.query_begin + query, row_width = int64_t{p.heads} * width;
      if (p.y) static_cast<T*>(p.y)[row * row_width + column] = rounded;
      if (p.quantized.values) store_eight_bits(p.quantized, row, row_width, column, result, 0);
    }
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
}

template <typename T, int kColumns>
cudaError_t launch(const AnyAttentionParams& p, cudaStream_t stream) {
  const size_t shared = sizeof(float) * (static_cast<size_t>(kAnyAttentionQueries + 2 * kKeys) * p.head_dim + kKeys);
  const auto kernel = any_attention<T, kColumns>;
  if (shared > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
    if (error != cudaSuccess) return error;
  }
  const int64_t blocks = tiles_at_most(p, kAnyAttentionQueries);
  if (blocks == 0) return cudaSuccess;
  kernel<<<dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(p.heads)), kThreads, shared, stream>>>(p);
  return cudaGetLastError();
}

}  // namespace

cudaError_t launch_any_attention(const AnyAttentionParams& p, cudaStream_t stream) {
  return with_element(p.element, [&](auto type) {
    using T = decltype(type);
    if (p.head_dim <= 32) return launch<T, 1>(p, stream);
    if (p.head_dim <= 64) return launch<T, 2>(p, stream);
    if (p.head_dim <= 128) return launch<T, 4>(p, stream);
    if (p.head_dim <= kAnyAttentionWidest) return launch<T, 8>(p, stream);
    return cudaErrorInvalidValue;
  });
}

}  // namespace bertie::cuda
