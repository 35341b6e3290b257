// A block takes a tile and a head: two warpgroups of 64 queries over the same keys; where there are few tiles, half of one. K and V come in
// pieces, two in shared memory at a time; whichever warp is the last to have read a piece sends for the next but one. Scores, weights and results stay in registers; softmax is
// online in powers of two. Two blocks share a multiprocessor where heads are narrow, so that one's softmax runs beside the other's
// products.
#include "cuda/kernels/wgmma_attention.h"

#include "cuda/kernels/attention.cuh"
#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kStages = 2;
constexpr int kKeys = 128;  // of a piece
constexpr float kLog2E = 1.4426950408889634f;

template <int D, int kGroups>
struct Layout {
  static constexpr int kQueries = kGroups * 64;
  static constexpr int kWidth = D < 64 ? D : 64, kPanels = D / kWidth;  // a panel: [rows, kWidth], lines of 64 or 128 bytes
  static constexpr int kChunks = kWidth / 8, kSwizzle = kWidth == 64 ? 1 : 2, kGroup = 8 * kWidth * 2;
  static constexpr int kPiece = kKeys * D;
  static constexpr int kBytes = (kQueries * D + 2 * kStages * kPiece) * 2 + 1024;

  // Where the copy engine's swizzle puts 16-byte chunk `chunk` of a row, in elements; `rows` of a panel.
  static __device__ int place(int row, int chunk, int rows) {
    constexpr int kRowsOfLine = 64 / kWidth;
    return chunk / kChunks * rows * kWidth + row * kWidth + (chunk % kChunks ^ (row / kRowsOfLine & (kChunks - 1))) * 8;
  }
};

// kBiased: scores get what does not wait for the exponent, the bias or a scale that is not positive.
template <typename T, int D, bool kBiased, int kGroups>
__global__ void __launch_bounds__(kGroups * 128, (D < 128 ? 4 : 2) / kGroups)
    wgmma_attention(const AnyAttentionParams p, const __grid_constant__ TensorMap key_map,
                    const __grid_constant__ TensorMap value_map) {
#ifdef BERTIE_HOPPER
  using L = Layout<D, kGroups>;
  constexpr int kThreads = kGroups * 128, kWarps = kThreads / 32, kParts = kWgmmaAttentionQueries / L::kQueries;
  constexpr int kScores = kKeys / 2, kResults = D / 2, kRows = L::kQueries;
  if (static_cast<int>(blockIdx.x) >= *p.tile_count * kParts) {
    if (blockIdx.x == 0) begin_dependent();
    return;
  }
  AttentionTile tile = p.tiles[blockIdx.x / kParts];
  const int skipped = static_cast<int>(blockIdx.x) % kParts * L::kQueries;
  tile.query_begin += skipped;
  tile.query_count = min(tile.query_count - skipped, L::kQueries);
  if (tile.query_count <= 0) return;
  const int head = blockIdx.y, lane = threadIdx.x % 32, group = threadIdx.x / 128;
  extern __shared__ unsigned char memory[];
  __shared__ uint64_t arrived[kStages];
  __shared__ int
      readers[kStages];  // how often a warp has done with what lay there: one warpgroup may be a piece ahead of the other
  T* queries = reinterpret_cast<T*>((reinterpret_cast<uintptr_t>(memory) + 1023) & ~uintptr_t{1023});
  T* keys = queries + kRows * D;
  T* values = keys + kStages * L::kPiece;
  const auto fetch = [&](int piece) {
    const int stage = piece % kStages;
    arrive_expecting(&arrived[stage], 2 * L::kPiece * static_cast<int>(sizeof(T)));
#pragma unroll
    for (int panel = 0; panel < L::kPanels; ++panel) {
      const int to = stage * L::kPiece + panel * kKeys * L::kWidth, column = head * D + panel * L::kWidth,
                row = tile.key_begin + piece * kKeys;
      copy_box(keys + to, &key_map, column, row, &arrived[stage]);
      copy_box(values + to, &value_map, column, row, &arrived[stage]);
    }
  };
  const int pieces = (tile.key_count + kKeys - 1) / kKeys;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      init_barrier(&arrived[stage], 1);
      readers[stage] = 0;
    }
    fence_barriers();
  }
  begin_dependent();
  if (threadIdx.x == 0) {
    for (int piece = 0; piece < min(pieces, kStages); ++piece) fetch(piece);
  }
  for (int i = threadIdx.x; i < kRows * D / 8; i += kThreads) {
    const int row = i / (D / 8), chunk = i % (D / 8);
    uint4 elements = {};
    if (row < tile.query_count)
      elements = *reinterpret_cast<const uint4*>(static_cast<const T*>(p.q) + query_row(p, tile, row) * p.row_stride + head * D +
                                                 chunk * 8);
    *reinterpret_cast<uint4*>(queries + L::place(row, chunk, kRows)) = elements;
  }
  fence_shared();
  __syncthreads();

  float result[kResults], largest[2] = {-INFINITY, -INFINITY}, total[2] = {};
#pragma unroll
  for (int i = 0; i < kResults; ++i) result[i] = 0;
  const int own = threadIdx.x / 32 * 16 + lane / 4;  // this thread's queries: that and that + 8
  const float scale = kBiased ? 1.0f : p.scale * kLog2E;
  for (int piece = 0; piece < pieces; ++piece) {
    const int stage = piece % kStages, live = tile.key_count - piece * kKeys;
    const T* k = keys + stage * L::kPiece;
    T* v = values + stage * L::kPiece;
    wait(&arrived[stage], piece / kStages & 1);
    float scores[kScores];
    hold(scores);
    begin_products();
#pragma unroll
    for (int s = 0; s < D / 16; ++s) {
      const int panel = s * 16 / L::kWidth, within = s * 16 % L::kWidth;
      WarpgroupProduct<T, kKeys>::shared(
          scores, describe(queries + panel * kRows * L::kWidth + group * 64 * L::kWidth + within, L::kGroup, 16, L::kSwizzle),
          describe(k + panel * kKeys * L::kWidth + within, L::kGroup, 16, L::kSwizzle), s > 0);
    }
    commit_products();
    if (live < kKeys) {  // rows of another sequence, or of none, might hold what zero times is not zero
      for (int i = threadIdx.x % 128; i < (kKeys - live) * (D / 8); i += 128)
        *reinterpret_cast<uint4*>(v + L::place(live + i / (D / 8), i % (D / 8), kKeys)) = uint4{};
      fence_shared();
      if (group == 0)
        asm volatile("bar.sync 1, 128;" ::: "memory");
      else
        asm volatile("bar.sync 2, 128;" ::: "memory");
    }
    wait_products<0>();
    hold(scores);
    if constexpr (kBiased) {
#pragma unroll
      for (int i = 0; i < kScores; ++i) {
        const int key = piece * kKeys + i / 4 * 8 + lane % 4 * 2 + i % 2, query = own + i / 2 % 2 * 8;
        scores[i] *= p.scale * kLog2E;
        if (p.relative_bias && key < tile.key_count && query < tile.query_count)
          scores[i] += relative_bias(p, head, query_row(p, tile, query), tile.key_begin + key) * kLog2E;
      }
    }
    if (live < kKeys) {
#pragma unroll
      for (int i = 0; i < kScores; ++i) {
        if (i / 4 * 8 + lane % 4 * 2 + i % 2 >= live) scores[i] = -INFINITY;
      }
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float larger = largest[half];
#pragma unroll
      for (int i = half * 2; i < kScores; i += 4) larger = fmaxf(larger, fmaxf(scores[i], scores[i + 1]));
      larger = fmaxf(larger, __shfl_xor_sync(0xffffffffu, larger, 1));
      larger = fmaxf(larger, __shfl_xor_sync(0xffffffffu, larger, 2));
      const float base = larger == -INFINITY ? 0.0f : larger * scale;
      const float rescale = power_of_two(largest[half] * scale - base);
      largest[half] = larger;
      total[half] *= rescale;
#pragma unroll
      for (int i = half * 2; i < kScores; i += 4) {
        scores[i] = power_of_two(scores[i] * scale - base);
        scores[i + 1] = power_of_two(scores[i + 1] * scale - base);
        total[half] += scores[i] + scores[i + 1];
      }
#pragma unroll
      for (int i = half * 2; i < kResults; i += 4) {
        result[i] *= rescale;
        result[i + 1] *= rescale;
      }
    }
    uint32_t weights[kKeys / 16][4];
#pragma unroll
    for (int i = 0; i < kScores; i += 2) weights[i / 8][i / 2 % 4] = pair<T>(scores[i], scores[i + 1]);
    hold(result);
    begin_products();
#pragma unroll
    for (int s = 0; s < kKeys / 16; ++s)
      WarpgroupProduct<T, D>::registers(result, weights[s],
                                        describe(v + s * 16 * L::kWidth, L::kGroup, kKeys * L::kWidth * 2, L::kSwizzle));
    commit_products();
    wait_products<0>();
    hold(result);
    if (piece + kStages < pieces && lane == 0) {
      __threadfence_block();
      if (atomicAdd(&readers[stage], 1) % kWarps == kWarps - 1) {
        fence_shared();
        fetch(piece + kStages);
      }
    }
  }

  // Through the rows of q that this warp alone has read, so that lines are written whole.
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    total[half] += __shfl_xor_sync(0xffffffffu, total[half], 1);
    total[half] += __shfl_xor_sync(0xffffffffu, total[half], 2);
    const float inverse = tile.key_count > 0 ? 1.0f / total[half] : 0.0f;
#pragma unroll
    for (int d = 0; d < D / 8; ++d)
      *reinterpret_cast<uint32_t*>(queries + L::place(own + half * 8, d, kRows) + lane % 4 * 2) =
          pair<T>(result[d * 4 + half * 2] * inverse, result[d * 4 + half * 2 + 1] * inverse);
  }
  __syncwarp();
  bool bad = false;
#pragma unroll
  for (int i = lane; i < 16 * D / 8; i += 32) {
    const int query = threadIdx.x / 32 * 16 + i / (D / 8), chunk = i % (D / 8);
    if (query >= tile.query_count) continue;
    const uint4 elements = *reinterpret_cast<const uint4*>(queries + L::place(query, chunk, kRows));
    float each[8];
    load_neighbours(reinterpret_cast<const T*>(&elements), each);
#pragma unroll
    for (int e = 0; e < 8; ++e) bad |= !isfinite(each[e]);
    const int64_t row = tile.query_begin + query, width = int64_t{p.heads} * D;
    const int column = head * D + chunk * 8;
    if (p.y) *reinterpret_cast<uint4*>(static_cast<T*>(p.y) + row * width + column) = elements;
    if (p.quantized.values) store_eight_bits(p.quantized, row, width, column, each, 0);
  }
  if (p.overflow && bad) atomicMin(p.overflow, p.step);
#endif
}

template <typename T, int D, int kGroups>
cudaError_t launch(const AnyAttentionParams& p, cudaStream_t stream) {
  using L = Layout<D, kGroups>;
  const auto kernel =
      p.relative_bias || !(p.scale > 0) ? wgmma_attention<T, D, true, kGroups> : wgmma_attention<T, D, false, kGroups>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, L::kBytes);
  TensorMap maps[2] = {};
  const void* sources[] = {p.k, p.v};
  if (p.key_rows > 0) {  // else nothing is copied
    for (int i = 0; i < 2 && error == cudaSuccess; ++i) {
      error = map_matrix(sources[i], p.element, p.key_rows, int64_t{p.heads} * D, p.row_stride, kKeys, L::kWidth, maps[i]);
    }
  }
  if (error != cudaSuccess) return error;
  constexpr int kParts = kWgmmaAttentionQueries / L::kQueries;
  return launch_dependent(kernel, dim3(static_cast<unsigned>(p.tile_capacity * kParts), static_cast<unsigned>(p.heads)),
                          kGroups * 128, L::kBytes, stream, p, maps[0], maps[1]);
}

}  // namespace

cudaError_t launch_wgmma_attention(const AnyAttentionParams& p, cudaStream_t stream) {
  int multiprocessors = 0;
  cudaError_t error = count_multiprocessors(multiprocessors);
  if (error != cudaSuccess) return error;
  const bool few = int64_t{p.tile_capacity} * p.heads <= multiprocessors;
  return with_matrix_heads(p, [&](auto element, auto width) {
    return few ? launch<decltype(element), width, 1>(p, stream) : launch<decltype(element), width, 2>(p, stream);
  });
}

}  // namespace bertie::cuda
