// Blocks stay, and take tile after tile of a head: three warpgroups (two where heads are wide) of 64 queries over the same keys; where there are few
// tiles, blocks of one warpgroup take a part of a tile each. One warp sends for queries, and for K and V in pieces, of the tiles to come too. A
// tile's warpgroups begin behind those of the tile before, so that short tiles leave none without work. Scores, weights and results stay in
// registers; softmax is online in powers of two, and runs beside the products of the piece before.
#include "cuda/kernels/wgmma_attention.h"

#include <algorithm>
#include <type_traits>

#include "cuda/kernels/attention.cuh"
#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/pairs.cuh"
#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kKeys = 64;             // of a piece
constexpr int kSenderRegisters = 32;  // of a thread
constexpr float kSlack = 8;           // weights are at most two to the power of it, which 16 bits hold as well as 1

template <int D, int kGroups>
struct Layout {
  static constexpr int kQueries = std::min(kGroups * 64, wgmma_attention_queries(D));  // of the block
  static constexpr int kParts = wgmma_attention_queries(D) / kQueries;
  static constexpr int kResident = kGroups == 1 && D < 128 ? 2 : 1;  // blocks of a multiprocessor
  static constexpr int kThreads = (1 + kGroups) * 128, kRegisters = kGroups == 3 ? 160 : kResident == 1 ? 232 : 224;
  // What warps take beyond what the block began with they wait for until others have left as much.
  static_assert(kSenderRegisters + kGroups * kRegisters <= (1 + kGroups) * (65536 / kResident / kThreads / 8 * 8));
  // Tiles whose queries are there at a time, and pieces of K and V: of a block that takes one tile little, so that it finds room beside those of
  // the kernel before.
  static constexpr int kTiles = kGroups == 1 ? 1 : kGroups == 3 ? 3 : 2;
  static constexpr int kStages = (kGroups == 1 ? 256 : 512) / std::max(D, 64);
  static constexpr int kWidth = D < 64 ? D : 64, kPanels = D / kWidth;  // a panel: [rows, kWidth], lines of 64 or 128 bytes
  static constexpr int kChunks = kWidth / 8, kSwizzle = kWidth == 64 ? 1 : 2, kGroup = 8 * kWidth * 2;
  static constexpr int kPiece = kKeys * D, kTile = kQueries * D;  // elements
  static constexpr int kKeysAt = kTiles * kTile * 2, kValuesAt = kKeysAt + kStages * kPiece * 2;
  static constexpr int kListedAt = kValuesAt + kStages * kPiece * 2, kBarriersAt = kListedAt + kTiles * 16;
  static constexpr int kBytes = kBarriersAt + 2 * (kTiles + kStages) * 8;
  static_assert(kResident * kBytes <= 226 * 1024);

  // Where the copy engine's swizzle puts 16-byte chunk `chunk` of a row, in elements; `rows` of a panel.
  static __device__ int place(int row, int chunk, int rows) {
    constexpr int kRowsOfLine = 64 / kWidth;
    return chunk / kChunks * rows * kWidth + row * kWidth + (chunk % kChunks ^ (row / kRowsOfLine & (kChunks - 1))) * 8;
  }
};

#ifdef BERTIE_HOPPER
// The compiler moves what gives `never_negative` in front of what waits behind this, rather than behind it.
__device__ inline void finish_before(float never_negative) {
  asm volatile("{\n.reg .pred p;\nsetp.lt.f32 p, %0, 0f00000000;\n@p trap;\n}" ::"f"(never_negative) : "memory");
}
#endif

// kBiased: scores get what does not wait for the exponent, the bias or a scale that is not positive.
template <typename T, int D, bool kBiased, int kGroups>
__global__ void __launch_bounds__((Layout<D, kGroups>::kThreads), (Layout<D, kGroups>::kResident))
    wgmma_attention(const AnyAttentionParams p, const __grid_constant__ TensorMap query_map,
                    const __grid_constant__ TensorMap key_map, const __grid_constant__ TensorMap value_map) {
#ifdef BERTIE_HOPPER
  using L = Layout<D, kGroups>;
  constexpr int kParts = L::kParts, kRows = L::kQueries, kTiles = L::kTiles, kStages = L::kStages;
  constexpr int kScores = kKeys / 2, kResults = D / 2;
  const int parts = *p.tile_count * kParts;
  const int first = static_cast<int>(blockIdx.x), step = static_cast<int>(gridDim.x), count = parts * p.heads;
  if (first >= count) {
    if (first == 0) begin_dependent();
    return;
  }
  // All heads of a tile, then the next; `part`: of the tile's queries those that the block takes.
  const bool backward = is_backward(p.step, p.key_rows);
  const auto part_of = [&](int n) { return backward ? parts - 1 - n / p.heads : n / p.heads; };
  const auto head_of = [&](int n) { return n % p.heads; };
  const auto tile_of = [&](int n) { return p.tiles + part_of(n) / kParts; };
  // A part of a tile beyond its queries; such a block has no other.
  if (kParts > 1 && tile_of(first)->query_count <= part_of(first) % kParts * kRows) return;
  extern __shared__ __align__(1024) unsigned char base[];
  T* const queries = reinterpret_cast<T*>(base);
  T* const keys = reinterpret_cast<T*>(base + L::kKeysAt);
  T* const values = reinterpret_cast<T*>(base + L::kValuesAt);
  AttentionTile* const listed = reinterpret_cast<AttentionTile*>(base + L::kListedAt);
  uint64_t* const tile_arrived = reinterpret_cast<uint64_t*>(base + L::kBarriersAt);
  uint64_t* const tile_released = tile_arrived + kTiles;
  uint64_t* const arrived = tile_released + kTiles;
  uint64_t* const released = arrived + kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kTiles; ++i) {
      init_barrier(&tile_arrived[i], 1);
      init_barrier(&tile_released[i], kGroups * 4);
    }
    for (int i = 0; i < kStages; ++i) {
      init_barrier(&arrived[i], 1);
      init_barrier(&released[i], kGroups * 4);
    }
    fence_barriers();
  }
  __syncthreads();

  const auto pieces_of = [](int count) { return max((count + kKeys - 1) / kKeys, 1); };
  int slot = 0, slot_parity = 0, stage = 0, parity = 0;
  const auto next_tile = [&] {
    if (++slot == kTiles) {
      slot = 0;
      slot_parity ^= 1;
    }
  };
  const auto next_stage = [&] {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  };
  if (threadIdx.x < 128) {
    leave_registers<kSenderRegisters>();
    if (threadIdx.x == 0) {
      AttentionTile tile = *tile_of(first);
      begin_dependent();
      for (int n = first; n < count; n += step) {
        AttentionTile next{};
        if (n + step < count) next = *tile_of(n + step);
        const int column = head_of(n) * D, row = tile.query_begin + part_of(n) % kParts * kRows;
        wait(&tile_released[slot], slot_parity ^ 1);
        arrive_expecting(&tile_arrived[slot], L::kTile * static_cast<int>(sizeof(T)) + static_cast<int>(sizeof(AttentionTile)));
        copy_bytes(&listed[slot], tile_of(n), sizeof(AttentionTile), &tile_arrived[slot]);
#pragma unroll
        for (int panel = 0; panel < L::kPanels; ++panel)
          copy_box(queries + slot * L::kTile + panel * kRows * L::kWidth, &query_map, column + panel * L::kWidth, row,
                   &tile_arrived[slot]);
        next_tile();
        const int pieces = pieces_of(tile.key_count);
        for (int piece = 0; piece < pieces; ++piece) {
          wait(&released[stage], parity ^ 1);
          arrive_expecting(&arrived[stage], 2 * L::kPiece * static_cast<int>(sizeof(T)));
#pragma unroll
          for (int panel = 0; panel < L::kPanels; ++panel) {
            const int to = stage * L::kPiece + panel * kKeys * L::kWidth;
            copy_box(keys + to, &key_map, column + panel * L::kWidth, tile.key_begin + piece * kKeys, &arrived[stage]);
            copy_box(values + to, &value_map, column + panel * L::kWidth, tile.key_begin + piece * kKeys, &arrived[stage]);
          }
          next_stage();
        }
        tile = next;
      }
    }
    return;
  }
  begin_dependent();
  take_registers<L::kRegisters>();
  const int lane = threadIdx.x % 32, group = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0) - 1;
  const auto release = [&](uint64_t* barrier) {
    __syncwarp();
    if (lane == 0) arrive(barrier);
  };
  const float scale = kBiased ? 1.0f : p.scale * kLog2E;
  // Descriptors of what lies first. All but the place is known as this is compiled, and moves within the lower half.
  const uint64_t first_queries = describe(queries, L::kGroup, 16, L::kSwizzle),
                 first_keys = describe(keys, L::kGroup, 16, L::kSwizzle),
                 first_values = describe(values, L::kGroup, kKeys * L::kWidth * 2, L::kSwizzle);
  uint32_t queries_at = static_cast<uint32_t>(first_queries), keys_at = static_cast<uint32_t>(first_keys),
           values_at = static_cast<uint32_t>(first_values);
  asm volatile("" : "+r"(queries_at), "+r"(keys_at), "+r"(values_at));  // not found again and again
  const auto descriptor = [](uint32_t at, int elements, uint64_t first) {
    return (first >> 32 << 32) | (at + static_cast<uint32_t>(elements * 2 >> 4));
  };
  int turn = 0;  // which warpgroup takes the tile's first queries
  for (int n = first; n < count; n += step, next_tile()) {
    wait(&tile_arrived[slot], slot_parity);
    // What is not read here is read from shared memory where it is wanted: registers are few.
    const AttentionTile* const tile = &listed[slot];
    const int key_count = tile->key_count, first_query = (group - turn + (group < turn ? kGroups : 0)) * 64;
    const auto skipped = [&] { return part_of(n) % kParts * kRows; };
    const auto query_count = [&] { return min(tile->query_count - skipped(), kRows); };  // of the block
    turn = (turn + (query_count() + 63) / 64) % kGroups;
    if (first_query >= query_count()) {  // nothing for this warpgroup
      for (int piece = 0; piece < pieces_of(key_count); ++piece, next_stage()) {
        wait(&arrived[stage], parity);
        release(&released[stage]);
      }
      release(&tile_released[slot]);
      continue;
    }
    const int own = first_query + threadIdx.x / 32 % 4 * 16 + lane / 4;  // this thread's queries: that and that + 8
    float scores[kScores], result[kResults], largest[2] = {-INFINITY, -INFINITY}, total[2] = {}, rescale[2];
    uint32_t weights[kKeys / 16][4];
#pragma unroll
    for (int i = 0; i < kResults; ++i) result[i] = 0;
    const uint32_t own_at = queries_at + static_cast<uint32_t>((slot * L::kTile + first_query * L::kWidth) * 2 >> 4);
    const auto score = [&] {
      const uint32_t at = keys_at + static_cast<uint32_t>(stage * (L::kPiece * 2 >> 4));
#pragma unroll
      for (int s = 0; s < D / 16; ++s) {
        const int panel = s * 16 / L::kWidth, within = s * 16 % L::kWidth;
        WarpgroupProduct<T, kKeys>::shared(scores, descriptor(own_at, panel * kRows * L::kWidth + within, first_queries),
                                           descriptor(at, panel * kKeys * L::kWidth + within, first_keys), s > 0);
      }
      commit_products();
    };
    const auto add_values = [&](int of) {
      const uint32_t at = values_at + static_cast<uint32_t>(of * (L::kPiece * 2 >> 4));
#pragma unroll
      for (int s = 0; s < kKeys / 16; ++s)
        WarpgroupProduct<T, D>::registers(result, weights[s], descriptor(at, s * 16 * L::kWidth, first_values));
      commit_products();
    };
    // Rows of another sequence, or of none, might hold what zero times is not zero.
    const auto clear_values = [&](int live) {
      if (live >= kKeys) return;
      T* const v = values + stage * L::kPiece;
      for (int i = threadIdx.x % 128; i < (kKeys - live) * (D / 8); i += 128)
        *reinterpret_cast<uint4*>(v + L::place(live + i / (D / 8), i % (D / 8), kKeys)) = uint4{};
      fence_shared();
      asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
    };
    // Scores of a piece to weights, still as floats: powers of two of what they have beyond `largest`, which follows the largest score once that is
    // kSlack beyond it. Then sums before are worth `rescale` of what they were; returns whether that is so for a row of the warp. `live`: keys from
    // the piece's first on.
    const auto weigh = [&](int live) {
      if constexpr (kBiased) {
        const int head = head_of(n), first_key = key_count - live;
#pragma unroll
        for (int i = 0; i < kScores; ++i) {
          const int key = i / 4 * 8 + lane % 4 * 2 + i % 2, query = own + i / 2 % 2 * 8;
          scores[i] *= p.scale * kLog2E;
          if (p.relative_bias && key < live && query < query_count())
            scores[i] +=
                relative_bias(p, head, query_row(p, *tile, skipped() + query), tile->key_begin + first_key + key) * kLog2E;
        }
      }
      if (live < kKeys) {
#pragma unroll
        for (int i = 0; i < kScores; ++i) {
          if (i / 4 * 8 + lane % 4 * 2 + i % 2 >= live) scores[i] = -INFINITY;
        }
      }
      bool moves = false;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most[2] = {scores[half * 2], scores[half * 2 + 4]};
#pragma unroll
        for (int i = half * 2; i < kScores; i += 4) most[i / 4 % 2] = fmaxf(most[i / 4 % 2], fmaxf(scores[i], scores[i + 1]));
        float larger = fmaxf(most[0], most[1]);
        larger = fmaxf(larger, __shfl_xor_sync(0xffffffffu, larger, 1));
        larger = fmaxf(larger, __shfl_xor_sync(0xffffffffu, larger, 2));
        const bool grows = (larger - largest[half]) * scale > kSlack;
        rescale[half] = grows ? power_of_two((largest[half] - larger) * scale) : 1.0f;
        if (grows) largest[half] = larger;
        moves |= grows;
        const float base = largest[half] == -INFINITY ? 0.0f : largest[half] * scale;
        float sums[2] = {total[half] * rescale[half], 0};  // two, so that they wait less for each other
#pragma unroll
        for (int i = half * 2; i < kScores; i += 4) {
          scores[i] = power_of_two(scores[i] * scale - base);
          scores[i + 1] = power_of_two(scores[i + 1] * scale - base);
          sums[i / 4 % 2] += scores[i] + scores[i + 1];
        }
        total[half] = sums[0] + sums[1];
      }
      return __any_sync(0xffffffffu, moves) != 0;
    };
    const auto round_weights = [&] {
#pragma unroll
      for (int i = 0; i < kScores; i += 2) weights[i / 8][i / 2 % 4] = pair<T>(scores[i], scores[i + 1]);
    };

    wait(&arrived[stage], parity);
    hold(scores);
    begin_products();
    score();
    clear_values(key_count);
    wait_products<0>();
    hold(scores);
    weigh(key_count);
    round_weights();
    for (int live = key_count - kKeys; live > 0; live -= kKeys) {
      const int before = stage;
      next_stage();
      wait(&arrived[stage], parity);
      hold(scores);
      hold(result);
      begin_products();
      score();
      add_values(before);
      clear_values(live);
      wait_products<1>();
      hold(scores);
      const bool moves = weigh(live);
      finish_before(total[0] + total[1]);
      wait_products<0>();
      hold(result);
      release(&released[before]);
      if (moves) {
#pragma unroll
        for (int i = 0; i < kResults; ++i) result[i] *= rescale[i / 2 % 2];
      }
      round_weights();
    }
    hold(result);
    begin_products();
    add_values(stage);
    wait_products<0>();
    hold(result);
    release(&released[stage]);
    next_stage();

    // Through rows of q, so that lines are written whole: those that this warp alone reads, for it is a warp's own 16 rows that its quarter of the
    // matrix units multiplies.
    T* const own_queries = queries + slot * L::kTile;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], 1);
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], 2);
      total[half] = key_count > 0 ? inverse(total[half]) : 0.0f;
    }
    const int warp_query = own - lane / 4;
    __half2 poison[2] = {};
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      uint32_t four[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        four[k] = pair<T>(result[i * 8 + k / 2 * 4 + k % 2 * 2] * total[k % 2],
                          result[i * 8 + k / 2 * 4 + k % 2 * 2 + 1] * total[k % 2]);
        if constexpr (std::is_same_v<T, __half>) poison[k % 2] = __hfma2(pair_in<T>(four[k]), __half2{}, poison[k % 2]);
      }
      store_matrices(own_queries + L::place(warp_query + lane % 16, i * 2 + lane / 16, kRows), four);
    }
    const int live_queries = query_count();
    if (p.overflow && ((is_poisoned(poison[0]) && own < live_queries) || (is_poisoned(poison[1]) && own + 8 < live_queries)))
      atomicMin(p.overflow, p.step);
    __syncwarp();
    constexpr int kRowChunks = D / 8, kRowsAtOnce = 32 / kRowChunks;
    const int64_t width = int64_t{p.heads} * D;
    const int chunk = lane % kRowChunks, column = head_of(n) * D + chunk * 8, query = warp_query + lane / kRowChunks;
    const int64_t place = (tile->query_begin + skipped() + query) * width + column;  // of the lane's first
    if (p.y) {
#pragma unroll
      for (int i = 0; i < 16; i += kRowsAtOnce) {
        if (query + i < live_queries)
          *reinterpret_cast<uint4*>(static_cast<T*>(p.y) + place + i * width) =
              *reinterpret_cast<const uint4*>(own_queries + L::place(query + i, chunk, kRows));
      }
    }
    if (std::is_same_v<T, __half> && p.quantized.values && p.quantized.inverse != 0 && p.quantized.e4m3) {
      const __half2 one = __float2half2_rn(p.quantized.inverse);
#pragma unroll
      for (int i = 0; i < 16; i += kRowsAtOnce) {
        if (query + i >= live_queries) continue;
        const uint4 eight = *reinterpret_cast<const uint4*>(own_queries + L::place(query + i, chunk, kRows));
        const auto codes = [&](uint32_t low, uint32_t high) {
          return pair_of_e4m3(__hfma2(pair_in<__half>(low), one, __half2{})) |
                 pair_of_e4m3(__hfma2(pair_in<__half>(high), one, __half2{})) << 16;
        };
        *reinterpret_cast<uint2*>(p.quantized.values + place + i * width) = {codes(eight.x, eight.y), codes(eight.z, eight.w)};
      }
    } else if (p.quantized.values) {
      float inverses[8], offsets[8];
      load_neighbours(p.quantized.quantization + column, inverses);
      load_neighbours(p.quantized.quantization + width + column, offsets);
#pragma unroll
      for (int i = 0; i < 16; i += kRowsAtOnce) {
        if (query + i >= live_queries) continue;
        float each[8];
        load_neighbours(own_queries + L::place(query + i, chunk, kRows), each);
#pragma unroll
        for (int e = 0; e < 8; ++e) each[e] = fmaf(each[e], inverses[e], offsets[e]);
        store_scaled(p.quantized, place + i * width, each);
      }
    }
    fence_shared();
    release(&tile_released[slot]);
  }
#endif
}

template <typename T, int D, int kGroups>
cudaError_t launch(const AnyAttentionParams& p, int multiprocessors, cudaStream_t stream) {
  using L = Layout<D, kGroups>;
  const auto kernel =
      p.relative_bias || !(p.scale > 0) ? wgmma_attention<T, D, true, kGroups> : wgmma_attention<T, D, false, kGroups>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, L::kBytes);
  TensorMap maps[3] = {};
  const void* sources[] = {p.q, p.k, p.v};
  if (p.key_rows > 0) {  // else nothing is copied
    for (int i = 0; i < 3 && error == cudaSuccess; ++i) {
      error = map_matrix(sources[i], p.element, p.key_rows, int64_t{p.heads} * D, p.row_stride, i == 0 ? L::kQueries : kKeys,
                         L::kWidth, maps[i]);
    }
  }
  if (error != cudaSuccess) return error;
  const int64_t most = int64_t{p.tile_capacity} * L::kParts * p.heads;
  return launch_dependent(kernel, static_cast<unsigned>(std::min<int64_t>(most, multiprocessors)), L::kThreads, L::kBytes, stream,
                          p, maps[0], maps[1], maps[2]);
}

}  // namespace

cudaError_t launch_wgmma_attention(const AnyAttentionParams& p, cudaStream_t stream) {
  if (p.query_rows) return cudaErrorInvalidValue;
  int multiprocessors = 0;
  cudaError_t error = count_multiprocessors(multiprocessors);
  if (error != cudaSuccess) return error;
  return with_matrix_heads(p, [&](auto element, auto width) {
    constexpr int kGroups = wgmma_attention_queries(decltype(width)::value) / 64;
    const bool few = int64_t{p.tile_capacity} * kGroups * p.heads <= multiprocessors;
    return few ? launch<decltype(element), width, 1>(p, multiprocessors, stream)
               : launch<decltype(element), width, kGroups>(p, multiprocessors, stream);
  });
}

}  // namespace bertie::cuda
