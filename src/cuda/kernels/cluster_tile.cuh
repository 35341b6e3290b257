// What cluster_linear, in 16 and in eight bits, and split_linear have in common: a block's ring of pieces, 128 bytes along the depth, its products, and the sums that
// the blocks of a cluster send each other. Its kernels stay two: see eight_bit_cluster_linear.cu.
#pragma once

#include <type_traits>

#include "cuda/kernels/cluster_linear.h"
#include "cuda/kernels/hopper.cuh"

namespace bertie::cuda {

constexpr int kClusterLine = 128;                // bytes of a piece's line along the depth
constexpr int kClusterDepth = kClusterLine / 2;  // elements of 16 bits there
constexpr int kClusterMostBytes = 227 * 1024;

// Shared memory of a block in 16 bits: its pieces, the sums that others send it, barriers.
template <int kGroups, int kColumns, int kBlocks>
struct ClusterLayout {
  static constexpr int kRows = kGroups * 64, kProducts = kGroups * 128;  // threads that multiply
  static constexpr int kXBytes = kRows * kClusterLine, kPieceBytes = kXBytes + kColumns * kClusterLine;
  static constexpr int kOwn = kColumns / kBlocks;  // columns whose sums a block adds up
  static constexpr int kPartBytes = kBlocks > 1 ? kRows* kColumns * 4 : 0;
  static constexpr int kStages = (kClusterMostBytes - 1024 - kPartBytes) / kPieceBytes;
  static_assert(kOwn % 8 == 0);
  // `stages`: pieces that are there at a time.
  static __host__ __device__ int parts_at(int stages) { return stages * kPieceBytes; }
  static __host__ __device__ int barriers_at(int stages) { return parts_at(stages) + kPartBytes; }
  static __host__ __device__ int bytes(int stages) { return barriers_at(stages) + stages * 16; }
};

// Of a block, at most.
__host__ __device__ inline int pieces_of_block(int64_t depth, int blocks) {
  const int pieces = static_cast<int>((depth + kClusterDepth - 1) / kClusterDepth);
  return (pieces + blocks - 1) / blocks;
}

// Calls body(groups, columns, blocks), integral constants, of the kernel that takes `tile`: a warpgroup 64 rows.
template <typename Body>
cudaError_t with_cluster_tile(const ClusterLinearTile& tile, Body body) {
  const auto is = [&](int rows, int columns, int blocks) {
    return tile.rows == rows && tile.columns == columns && tile.blocks == blocks;
  };
  using One = std::integral_constant<int, 1>;
  using Two = std::integral_constant<int, 2>;
  using Columns = std::integral_constant<int, 64>;
  if (is(64, 64, 1)) return body(One{}, Columns{}, One{});
  if (is(64, 64, 2)) return body(One{}, Columns{}, Two{});
  if (is(64, 64, 4)) return body(One{}, Columns{}, std::integral_constant<int, 4>{});
  if (is(128, 64, 1)) return body(Two{}, Columns{}, One{});
  if (is(128, 128, 1)) return body(Two{}, std::integral_constant<int, 128>{}, One{});
  return cudaErrorInvalidValue;
}

#ifdef BERTIE_HOPPER

// By the thread that sends, and then fence_barriers. `groups`: warpgroups that multiply.
__device__ inline void init_ring(uint64_t* arrived, uint64_t* released, int stages, int groups) {
  for (int stage = 0; stage < stages; ++stage) {
    init_barrier(&arrived[stage], 1);
    init_barrier(&released[stage], groups * 4);
  }
}

// By the thread that sends: send(piece, stage) for pieces from `early` on, once their stage is released.
template <typename Send>
__device__ inline void send_released(int early, int pieces, int stages, uint64_t* released, Send send) {
  for (int piece = early, stage = 0, parity = 0; piece < pieces; ++piece) {
    wait(&released[stage], parity);
    send(piece, stage);
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
}

// By the threads that multiply. L: the kernel's layout; sums [64, columns] of the warpgroup's rows, zeros before.
template <typename X, typename L, int kColumns, typename Sum>
__device__ inline void multiply_pieces(Sum (&sums)[kColumns / 2], unsigned char* base, uint64_t* arrived, uint64_t* released,
                                       int pieces, int stages, int lane) {
  const int group = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0);
  const uint64_t x_operand = describe(base + group * 64 * kClusterLine, 8 * kClusterLine, 16, 1),
                 weight_operand = describe(base + L::kXBytes, 8 * kClusterLine, 16, 1);
  for (int piece = 0, stage = 0, before = 0, parity = 0; piece < pieces; ++piece) {
    const int at = stage * (L::kPieceBytes >> 4);
    wait(&arrived[stage], parity);
    hold(sums);
    begin_products();
#pragma unroll
    for (int k = 0; k < kClusterLine / 32; ++k)
      WarpgroupProduct<X, kColumns>::shared(sums, x_operand + at + k * 2, weight_operand + at + k * 2, true);
    commit_products();
    if (piece > 0) {
      wait_products<1>();
      __syncwarp();
      if (lane == 0) arrive(&released[before]);
    }
    before = stage;
    if (++stage == stages) {
      stage = 0;
      parity ^= 1;
    }
  }
  wait_products<0>();
  hold(sums);
}

__device__ inline float4 four(const float* of) { return {of[0], of[1], of[2], of[3]}; }
__device__ inline int4 four(const int32_t* of) { return {of[0], of[1], of[2], of[3]}; }

// By all threads: the sums of other blocks' columns go to them, to `parts` at block * kOwn columns, and `own` gets this block's; until all have
// arrived. A thread's sums are those of the same thread in every block.
template <typename L, int kBlocks, typename Sum, int kSums>
__device__ inline void exchange_sums(const Sum (&sums)[kSums], Sum (&own)[L::kOwn / 2], Sum* parts, int block, bool multiplies) {
  wait_for_cluster();
#pragma unroll
  for (int owner = 0; owner < kBlocks; ++owner) {
    if (owner == block || !multiplies) continue;
#pragma unroll
    for (int i = 0; i < L::kOwn / 8; ++i) {
      store_in_cluster(parts + ((block * (L::kOwn / 8) + i) * L::kProducts + threadIdx.x) * 4, owner,
                       four(sums + (owner * (L::kOwn / 8) + i) * 4));
    }
  }
  __syncwarp();
  arrive_at_cluster();
#pragma unroll
  for (int owner = 0; owner < kBlocks; ++owner) {
    if (owner != block) continue;
#pragma unroll
    for (int i = 0; i < L::kOwn / 2; ++i) own[i] = sums[owner * (L::kOwn / 2) + i];
  }
  wait_for_cluster();
}

#endif

}  // namespace bertie::cuda
