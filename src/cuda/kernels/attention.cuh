// What the kernels of attention have in common.
#pragma once

#include <type_traits>

#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/elements.cuh"
#include "cuda/kernels/row_mask.cuh"
#include "cuda/kernels/tile_attention.h"

namespace bertie::cuda {

constexpr float kLog2E = 1.4426950408889634f;

inline int64_t tiles_at_most(const AnyAttentionParams& p, int queries) {
  return p.tiles ? p.tile_capacity : p.sequences * ((p.sequence + queries - 1) / queries);
}

// Of block blockIdx.x, one of tiles_at_most. Padded rows are cut into tiles of `queries`.
__device__ inline AttentionTile tile_of_block(const AnyAttentionParams& p, int queries) {
  if (p.tiles) return p.tiles[blockIdx.x];
  const int64_t blocks = (p.sequence + queries - 1) / queries;
  const int64_t first = blockIdx.x / blocks * p.sequence, done = blockIdx.x % blocks * queries;
  return {static_cast<int32_t>(first + done), static_cast<int32_t>(min(p.sequence - done, int64_t{queries})),
          static_cast<int32_t>(first), static_cast<int32_t>(p.sequence)};
}
__device__ inline bool has_tile(const AnyAttentionParams& p) { return !p.tiles || static_cast<int>(blockIdx.x) < *p.tile_count; }

// Which row of q a tile's query is.
__device__ inline int64_t query_row(const AnyAttentionParams& p, const AttentionTile& tile, int query) {
  return p.query_rows ? p.query_rows[tile.query_begin + query] : tile.query_begin + query;
}

// p.relative_bias, which is there, of row `to` of k for row `from` of q.
__device__ inline float relative_bias(const AnyAttentionParams& p, int head, int64_t from, int64_t to) {
  const int distance = p.columns ? p.columns[to] - p.columns[from] : static_cast<int>(to - from);
  return p.relative_bias[static_cast<int64_t>(head) * p.bias_entries + p.bias_entries / 2 + distance];
}

// p.bias, which is there, of a tile's query, from the sequence's first key on.
__device__ inline const float* bias_row(const AnyAttentionParams& p, const AttentionTile& tile, int head, int query) {
  return p.bias + tile.key_begin / p.sequence * p.bias_sequence_stride + head * p.bias_head_stride +
         (tile.query_begin + query - tile.key_begin) * p.bias_query_stride;
}

// Of one of its elements; NaN stays.
__device__ inline float held_bias(const AnyAttentionParams& p, float bias) { return bias < p.least_bias ? p.least_bias : bias; }

// 16 bytes into shared memory, asynchronously; where not live zeros, and nothing is read.
__device__ inline void copy_chunk(void* to, const void* from, bool live) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(live ? 16 : 0)
               : "memory");
}

// Four matrices of 8 lines of 16 bytes from shared memory, as mma.sync takes them: lane l gives the address of line l % 8 of matrix l / 8.
__device__ inline void read4(uint32_t (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(p))
               : "memory");
}

// A block for each tile of at most `queries` and head, of whom some may find no tile.
inline cudaError_t launch_over_tiles(void (*kernel)(AnyAttentionParams), const AnyAttentionParams& p, int queries, int threads,
                                     int shared, cudaStream_t stream) {
  const int64_t tiles = tiles_at_most(p, queries);
  if (tiles == 0) return cudaSuccess;
  const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
  if (error != cudaSuccess) return error;
  return launch_dependent(kernel, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(p.heads)), threads,
                          static_cast<size_t>(shared), stream, p);
}

// Calls body(std::integral_constant<int, D>()) for the heads that matrix units take.
template <typename Body>
cudaError_t with_head_width(const AnyAttentionParams& p, Body body) {
  switch (p.head_dim) {
    case 32: return body(std::integral_constant<int, 32>());
    case 64: return body(std::integral_constant<int, 64>());
    case 128: return body(std::integral_constant<int, 128>());
  }
  return cudaErrorInvalidValue;
}

// Calls body(T{}, std::integral_constant<int, D>()) for elements of 16 bits and those heads.
template <typename Body>
cudaError_t with_matrix_heads(const AnyAttentionParams& p, Body body) {
  if (p.element == Element::f32 || p.row_stride % 8 != 0) return cudaErrorInvalidValue;
  return with_head_width(
      p, [&](auto width) { return p.element == Element::f16 ? body(__half{}, width) : body(__nv_bfloat16{}, width); });
}

}  // namespace bertie::cuda
