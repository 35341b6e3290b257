// A block takes a tile and a head: 4 warps of 16 queries. K and V come in pieces of 64 keys by asynchronous copies, two pieces in shared
// memory at a time; 16-byte chunks are exchanged by row so that ldmatrix meets no bank twice. Softmax is online in powers of two.
#include "cuda/kernels/tile_attention.h"

#include "cuda/kernels/attention.cuh"
#include "cuda/kernels/quantized_rows.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 128, kKeys = 64;

template <int D>
__device__ inline int place(int row, int chunk) {  // in elements
  constexpr int kChunks = D / 8, kRowsOfLine = kChunks < 8 ? 8 / kChunks : 1, kMask = kChunks < 8 ? kChunks - 1 : 7;
  return row * D + (chunk ^ (row / kRowsOfLine & kMask)) * 8;
}

__device__ inline void read4_transposed(uint32_t (&r)[4], const void* p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(p))
               : "memory");
}
#define BERTIE_MMA(TYPE)                                                    \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE       \
               ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])             \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
__device__ inline void multiply(__half, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { BERTIE_MMA("f16"); }
__device__ inline void multiply(__nv_bfloat16, float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  BERTIE_MMA("bf16");
}
#undef BERTIE_MMA
template <typename T, int D>
__global__ void __launch_bounds__(kThreads) tile_attention(AnyAttentionParams p) {
  begin_dependent();
  if (!has_tile(p)) return;
  const AttentionTile tile = tile_of_block(p, kTileAttentionQueries);
  constexpr int kChunks = D / 8, kPiece = kKeys * D;
  const int head = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  extern __shared__ __align__(128) unsigned char memory[];
  T* queries = reinterpret_cast<T*>(memory);
  T* keys = queries + kTileAttentionQueries * D;  // two pieces
  T* values = keys + 2 * kPiece;                  // two pieces
  const auto source = [&](const void* base, int64_t row, int chunk) {
    return static_cast<const T*>(base) + row * p.row_stride + head * D + chunk * 8;
  };
  const auto fetch = [&](int piece) {
    for (int i = threadIdx.x; i < kKeys * kChunks; i += kThreads) {
      const int row = i / kChunks, chunk = i % kChunks, key = piece * kKeys + row, to = piece % 2 * kPiece + place<D>(row, chunk);
      const bool live = key < tile.key_count;
      const int64_t from = tile.key_begin + (live ? key : 0);
      copy_chunk(keys + to, source(p.k, from, chunk), live);
      copy_chunk(values + to, source(p.v, from, chunk), live);
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  const int pieces = (tile.key_count + kKeys - 1) / kKeys;
  // Without keys the query's row may not exist: the first of an empty last sequence.
  for (int i = threadIdx.x; pieces > 0 && i < kTileAttentionQueries * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool live = row < tile.query_count;
    copy_chunk(queries + place<D>(row, chunk), source(p.q, query_row(p, tile, live ? row : 0), chunk), live);
  }
  asm volatile("cp.async.commit_group;" ::: "memory");
  if (pieces > 0) fetch(0);

  float result[D / 8][4] = {}, largest[2] = {-INFINITY, -INFINITY}, total[2] = {};
  uint32_t q[D / 16][4];
  const int part = lane / 8, line = lane % 8, own = warp * 16 + lane / 4;
  const float scale = p.scale * kLog2E;
  for (int piece = 0; piece < pieces; ++piece) {
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();  // this piece is there, and the one before has been read
    if (piece + 1 < pieces) fetch(piece + 1);
    if (piece == 0) {
#pragma unroll
      for (int s = 0; s < D / 16; ++s) read4(q[s], queries + place<D>(warp * 16 + part % 2 * 8 + line, s * 2 + part / 2));
    }
    const T* k = keys + piece % 2 * kPiece;
    const T* v = values + piece % 2 * kPiece;
    float scores[8][4] = {};
#pragma unroll
    for (int s = 0; s < D / 16; ++s) {
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        uint32_t b[4];
        read4(b, k + place<D>((n + part / 2) * 8 + line, s * 2 + part % 2));
        multiply(T{}, scores[n], q[s], b[0], b[1]);
        multiply(T{}, scores[n + 1], q[s], b[2], b[3]);
      }
    }
#pragma unroll
    for (int n = 0; n < 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = piece * kKeys + n * 8 + lane % 4 * 2 + i % 2, query = own + i / 2 * 8;
        float score = scores[n][i] * scale;
        if (p.relative_bias && key < tile.key_count && query < tile.query_count)
          score += relative_bias(p, head, query_row(p, tile, query), tile.key_begin + key) * kLog2E;
        scores[n][i] = key < tile.key_count ? score : -INFINITY;
      }
    }
    if (p.bias) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int query = own + half * 8;
        if (query >= tile.query_count) continue;
        const float* bias = bias_row(p, tile, head, query);
#pragma unroll
        for (int n = 0; n < 8; ++n) {
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int key = piece * kKeys + n * 8 + lane % 4 * 2 + i;
            if (key < tile.key_count) scores[n][half * 2 + i] += held_bias(p, bias[key]) * kLog2E;
          }
        }
      }
    }
    if (p.mask.data) {
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int key = piece * kKeys + n * 8 + lane % 4 * 2 + i;
          if (key < tile.key_count && !counts(p.mask, tile.key_begin + key)) scores[n][i] = scores[n][i + 2] = -INFINITY;
        }
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float larger = largest[half];
#pragma unroll
      for (int n = 0; n < 8; ++n) larger = fmaxf(larger, fmaxf(scores[n][half * 2], scores[n][half * 2 + 1]));
      larger = fmaxf(larger, __shfl_xor_sync(0xffffffffu, larger, 1));
      larger = fmaxf(larger, __shfl_xor_sync(0xffffffffu, larger, 2));
      const float base = larger == -INFINITY ? 0.0f : larger, rescale = exp2f(largest[half] - base);
      largest[half] = larger;
      total[half] *= rescale;
#pragma unroll
      for (int n = 0; n < 8; ++n) {
#pragma unroll
        for (int i = half * 2; i < half * 2 + 2; ++i) total[half] += scores[n][i] = exp2f(scores[n][i] - base);
      }
#pragma unroll
      for (int d = 0; d < D / 8; ++d) {
        result[d][half * 2] *= rescale;
        result[d][half * 2 + 1] *= rescale;
      }
    }
#pragma unroll
    for (int s = 0; s < kKeys / 16; ++s) {
      const uint32_t a[4] = {pair<T>(scores[2 * s][0], scores[2 * s][1]), pair<T>(scores[2 * s][2], scores[2 * s][3]),
                             pair<T>(scores[2 * s + 1][0], scores[2 * s + 1][1]),
                             pair<T>(scores[2 * s + 1][2], scores[2 * s + 1][3])};
#pragma unroll
      for (int d = 0; d < D / 8; d += 2) {
        uint32_t b[4];
        read4_transposed(b, v + place<D>(s * 16 + part % 2 * 8 + line, d + part / 2));
        multiply(T{}, result[d], a, b[0], b[1]);
        multiply(T{}, result[d + 1], a, b[2], b[3]);
      }
    }
  }
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  bool bad = false;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    total[half] += __shfl_xor_sync(0xffffffffu, total[half], 1);
    total[half] += __shfl_xor_sync(0xffffffffu, total[half], 2);
    const int query = own + half * 8;
    if (query >= tile.query_count) continue;
    const float inverse = total[half] != 0 ? 1.0f / total[half] : 0.0f;  // of no keys the result is 0
    const int64_t row = tile.query_begin + query, width = int64_t{p.heads} * D;
#pragma unroll
    for (int d = 0; d < D / 8; ++d) {
      const int column = head * D + d * 8 + lane % 4 * 2;
      const uint32_t both = pair<T>(result[d][half * 2] * inverse, result[d][half * 2 + 1] * inverse);
      float rounded[2];
      load_neighbours(reinterpret_cast<const T*>(&both), rounded);
      bad |= !isfinite(rounded[0]) || !isfinite(rounded[1]);
      if (p.y) *reinterpret_cast<uint32_t*>(static_cast<T*>(p.y) + row * width + column) = both;
      if (p.quantized.values) store_eight_bits(p.quantized, row, width, column, rounded, 0);
    }
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
}

template <typename T, int D>
cudaError_t launch(const AnyAttentionParams& p, cudaStream_t stream) {
  constexpr int kShared = (kTileAttentionQueries + 4 * kKeys) * D * 2;
  return launch_over_tiles(tile_attention<T, D>, p, kTileAttentionQueries, kThreads, kShared, stream);
}

}  // namespace

cudaError_t launch_tile_attention(const AnyAttentionParams& p, cudaStream_t stream) {
  return with_matrix_heads(p, [&](auto element, auto width) { return launch<decltype(element), width>(p, stream); });
}

}  // namespace bertie::cuda
