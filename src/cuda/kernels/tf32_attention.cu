// A block takes a tile and a head: 4 warps of 16 queries, and of 16 more in tiles above 64, so that what is read of K and V serves twice. K
// and V come in pieces of 32 keys by asynchronous copies, two pieces in shared memory at a time; q stays in registers. Softmax is online in
// powers of two.
//
// A product adds over 8 places, of which a lane has places j and j + 4 (j = lane % 4) of both operands; what a place stands for is free. In q k
// they are neighbours of the depth, so that a lane reads 16 bytes of q and of k for two products; in weights v they are keys 2 j and 2 j + 1,
// whose weights the lane has made. Of v too a lane reads 16 bytes, a column for each of four products, and so ends with 8 neighbours of a
// result. 16-byte chunks are exchanged by row so that no read meets a bank twice.
#include "cuda/kernels/tf32_attention.h"

#include "cuda/kernels/attention.cuh"
#include "cuda/kernels/quantized_rows.cuh"

namespace bertie::cuda {
namespace {

constexpr int kThreads = 128, kKeys = 32;
constexpr int kQueries = kThreads / 32 * 16;  // that the warps take at a time
constexpr float kRoom = 8;         // by which scores may be beyond the maximum so far before it moves: weights are at most 2^8
constexpr float kLowest = -1e30f;  // maximum so far; of no score, but finite

template <int D>
__device__ inline int place(int row, int chunk) {  // in elements
  return row * D + (chunk ^ (row & 6) ^ (row & 1) * 4) * 4;
}

// To tf32, by at most 2^-11 of it: the inner sum keeps 10 bits behind x's first. cvt.rna.tf32 is a comparison and a sum in place, and moves
// to where a product wants its operands. An infinity becomes NaN.
__device__ inline float rounded(float x) { return __fmaf_rn(x, -0x1p13f, __fmaf_rn(x, 0x1p13f, x)); }

// A weight to tf32: what each loses is missing from their sum too.
__device__ inline float cut(float x) { return __uint_as_float(__float_as_uint(x) & 0xffffe000u); }

__device__ inline void multiply(float (&c)[4], float a0, float a1, float a2, float a3, float b0, float b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(__float_as_uint(a0)), "r"(__float_as_uint(a1)), "r"(__float_as_uint(a2)), "r"(__float_as_uint(a3)),
        "r"(__float_as_uint(b0)), "r"(__float_as_uint(b1)));
}

__device__ inline void read_rounded(float (&to)[4], const float* from) {
  load_neighbours(from, to);
#pragma unroll
  for (float& x : to) x = rounded(x);
}

// kTimes: how often the warps take 16 queries each.
template <int D, int kTimes>
__device__ inline void attend(const AnyAttentionParams& p, const AttentionTile& tile, float* memory) {
  constexpr int kChunks = D / 4, kPiece = kKeys * D;
  const int head = blockIdx.y, lane = threadIdx.x % 32, line = lane / 4, part = lane % 4, own = threadIdx.x / 32 * 16 + line;
  float* keys = memory;               // two pieces
  float* values = keys + 2 * kPiece;  // two pieces
  const auto source = [&](const void* base, int64_t row, int chunk) {
    return static_cast<const float*>(base) + row * p.row_stride + head * D + chunk * 4;
  };
  const int first_row = threadIdx.x / kChunks, chunk = threadIdx.x % kChunks;  // of a piece, that this thread copies
  const float* k_from = source(p.k, tile.key_begin + first_row, chunk);
  const float* v_from = source(p.v, tile.key_begin + first_row, chunk);
  const auto fetch = [&](int piece) {  // one after the other
#pragma unroll
    for (int i = 0; i < kKeys; i += kThreads / kChunks) {
      const int to = piece % 2 * kPiece + place<D>(first_row + i, chunk);
      const bool live = piece * kKeys + first_row + i < tile.key_count;
      copy_chunk(keys + to, k_from + i * p.row_stride, live);
      copy_chunk(values + to, v_from + i * p.row_stride, live);
    }
    k_from += kKeys * p.row_stride;
    v_from += kKeys * p.row_stride;
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  const int pieces = (tile.key_count + kKeys - 1) / kKeys;
  if (pieces > 0) fetch(0);

  float q[kTimes][2][D / 16][4] = {}, result[kTimes][D / 8][4] = {}, largest[kTimes][2], total[kTimes][2] = {};
  const float scale = p.scale * kLog2E;
#pragma unroll
  for (int t = 0; t < kTimes; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[t][half] = kLowest;
      const int query = t * kQueries + own + half * 8;
      // Without keys the query's row may not exist: the first of an empty last sequence.
      if (pieces == 0 || query >= tile.query_count) continue;
      const int64_t row = query_row(p, tile, query);
#pragma unroll
      for (int s = 0; s < D / 16; ++s) {
        load_neighbours(source(p.q, row, s * 4 + part), q[t][half][s]);
#pragma unroll
        for (float& x : q[t][half][s]) x = rounded(x * scale);
      }
    }
  }
  for (int piece = 0; piece < pieces; ++piece) {
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();  // this piece is there, and the one before has been read
    if (piece + 1 < pieces) fetch(piece + 1);
    if (own - line >= tile.query_count) continue;
    const float* k = keys + piece % 2 * kPiece;
    const float* v = values + piece % 2 * kPiece;
    const int live = tile.key_count - piece * kKeys;
    float scores[kTimes][kKeys / 8][4] = {};
#pragma unroll
    for (int s = 0; s < D / 16; ++s) {
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
        float b[4];
        read_rounded(b, k + place<D>(n * 8 + line, s * 4 + part));
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
#pragma unroll
          for (int t = 0; t < kTimes; ++t)
            multiply(scores[t][n], q[t][0][s][i], q[t][1][s][i], q[t][0][s][i + 1], q[t][1][s][i + 1], b[i], b[i + 1]);
        }
      }
    }
    const auto each_score = [&](auto body) {  // (score, half of t, key of the piece)
#pragma unroll
      for (int t = 0; t < kTimes; ++t) {
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) body(scores[t][n][i], t, i / 2, n * 8 + part * 2 + i % 2);
        }
      }
    };
    if (p.relative_bias) {
      each_score([&](float& score, int t, int half, int key) {
        const int query = t * kQueries + own + half * 8;
        if (key < live && query < tile.query_count)
          score += relative_bias(p, head, query_row(p, tile, query), tile.key_begin + piece * kKeys + key) * kLog2E;
      });
    }
    if (p.bias) {
      each_score([&](float& score, int t, int half, int key) {
        const int query = t * kQueries + own + half * 8;
        if (key < live && query < tile.query_count)
          score += held_bias(p, bias_row(p, tile, head, query)[piece * kKeys + key]) * kLog2E;
      });
    }
    if (live < kKeys) {
      each_score([&](float& score, int, int, int key) {
        if (key >= live) score = -INFINITY;
      });
    }
    if (p.mask.data) {
      each_score([&](float& score, int, int, int key) {
        if (key < live && !counts(p.mask, tile.key_begin + piece * kKeys + key)) score = -INFINITY;
      });
    }
    float larger[kTimes][2];
    bool moves = false;
#pragma unroll
    for (int t = 0; t < kTimes; ++t) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float beyond = largest[t][half];
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n) beyond = fmaxf(beyond, fmaxf(scores[t][n][half * 2], scores[t][n][half * 2 + 1]));
        beyond = fmaxf(beyond, __shfl_xor_sync(0xffffffffu, beyond, 1));
        beyond = fmaxf(beyond, __shfl_xor_sync(0xffffffffu, beyond, 2));
        const bool grows = beyond > largest[t][half] + kRoom;  // each row by itself: its bits are the same beside any others
        larger[t][half] = grows ? beyond : largest[t][half];
        moves |= grows;
      }
    }
    if (__any_sync(0xffffffffu, moves)) {
#pragma unroll
      for (int t = 0; t < kTimes; ++t) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float rescale = power_of_two(largest[t][half] - larger[t][half]);
          largest[t][half] = larger[t][half];
          total[t][half] *= rescale;
#pragma unroll
          for (int d = 0; d < D / 8; ++d) {
            result[t][d][half * 2] *= rescale;
            result[t][d][half * 2 + 1] *= rescale;
          }
        }
      }
    }
    each_score([&](float& score, int t, int half, int) {
      score = cut(power_of_two(score - largest[t][half]));
      total[t][half] += score;
    });
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
      for (int d = 0; d < D / 8; d += 4) {
        float even[4], odd[4];
        read_rounded(even, v + place<D>(n * 8 + part * 2, d * 2 + line));
        read_rounded(odd, v + place<D>(n * 8 + part * 2 + 1, d * 2 + line));
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int t = 0; t < kTimes; ++t)
            multiply(result[t][d + i], scores[t][n][0], scores[t][n][2], scores[t][n][1], scores[t][n][3], even[i], odd[i]);
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTimes; ++t) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[t][half] += __shfl_xor_sync(0xffffffffu, total[t][half], 1);
      total[t][half] += __shfl_xor_sync(0xffffffffu, total[t][half], 2);
      const int query = t * kQueries + own + half * 8;
      if (query >= tile.query_count) continue;
      const float inverse = total[t][half] != 0 ? 1.0f / total[t][half] : 0.0f;  // of no keys the result is 0
      const int64_t row = tile.query_begin + query, width = int64_t{p.heads} * D;
#pragma unroll
      for (int d = 0; d < D / 8; d += 4) {
        const int column = head * D + d * 8 + part * 8;
        Neighbours<float, 8> y;
#pragma unroll
        for (int i = 0; i < 8; ++i) y.values[i] = result[t][d + i % 4][half * 2 + i / 4] * inverse;
        if (p.y) *reinterpret_cast<Neighbours<float, 8>*>(static_cast<float*>(p.y) + row * width + column) = y;
        if (p.quantized.values) store_eight_bits(p.quantized, row, width, column, y.values, 0);
      }
    }
  }
}

template <int D, int kMostTimes>
__global__ void __launch_bounds__(kThreads, D == 32 ? 3 : 2) tf32_attention(AnyAttentionParams p) {
  begin_dependent();
  if (!has_tile(p)) return;
  const AttentionTile tile = tile_of_block(p, kMostTimes * kQueries);
  extern __shared__ __align__(128) float memory[];
  if constexpr (kMostTimes == 2) {
    if (tile.query_count > kQueries) return attend<D, 2>(p, tile, memory);
  }
  attend<D, 1>(p, tile, memory);
}

template <int D>
cudaError_t launch(const AnyAttentionParams& p, cudaStream_t stream) {
  constexpr int kShared = 4 * kKeys * D * 4;
  constexpr int kTileQueries = tf32_attention_queries(D);
  return launch_over_tiles(tf32_attention<D, kTileQueries / kQueries>, p, kTileQueries, kThreads, kShared, stream);
}

}  // namespace

cudaError_t launch_tf32_attention(const AnyAttentionParams& p, cudaStream_t stream) {
  if (p.element != Element::f32 || p.row_stride % 4 != 0) return cudaErrorInvalidValue;
  return with_head_width(p, [&](auto width) { return launch<width>(p, stream); });
}

}  // namespace bertie::cuda
