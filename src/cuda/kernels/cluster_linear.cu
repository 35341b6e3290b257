// A cluster takes a tile, each of its blocks a part of the depth, in pieces of 128 bytes: one warp sends for them, warpgroups multiply 64 rows each.
// Every block sends each other the sums of that one's columns; a sum's parts are added in the order of the blocks.
#include "cuda/kernels/cluster_linear.h"

#include <algorithm>
#include <type_traits>

#include "cuda/kernels/cluster_tile.cuh"
#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/gelu.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/pairs.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kDepth = kClusterDepth;

// What the kernel reads of ClusterLinearParams, and no more: its code is to stay as it was measured (eight_bit_cluster_linear.cu).
struct SixteenBits {
  const void *x, *weight;
  const float* bias;
  void* y;
  Element element;
  Activation activation;
  int64_t rows, columns, depth;
  const int32_t* live_rows;
  int32_t* overflow;
  int32_t step;
  ClusterLinearTile tile;
};

template <typename T, int kGroups, int kColumns, int kBlocks>
__global__ void __launch_bounds__(kGroups * 128 + 32, 1)
    cluster_linear(const SixteenBits p, const __grid_constant__ TensorMap x_map, const __grid_constant__ TensorMap weight_map) {
#ifdef BERTIE_HOPPER
  using L = ClusterLayout<kGroups, kColumns, kBlocks>;
  constexpr bool kOverflows = std::is_same_v<T, __half>;
  extern __shared__ __align__(1024) unsigned char base[];
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int block = static_cast<int>(blockIdx.x) % kBlocks, tile = static_cast<int>(blockIdx.x) / kBlocks;
  const int down = static_cast<int>((p.rows + L::kRows - 1) / L::kRows);
  const int row = tile % down * L::kRows, column = tile / down * kColumns;
  if (row >= rows) {  // as all of the cluster; the first block only where no row is live
    if (blockIdx.x == 0) begin_dependent();
    return;
  }
  const int most = pieces_of_block(p.depth, kBlocks), first = block * most, stages = min(most, L::kStages);
  const int pieces = max(0, min(most, static_cast<int>((p.depth + kDepth - 1) / kDepth) - first));
  float* const parts = reinterpret_cast<float*>(base + L::parts_at(stages));
  uint64_t* const arrived = reinterpret_cast<uint64_t*>(base + L::barriers_at(stages));
  uint64_t* const released = arrived + stages;

  const bool multiplies = threadIdx.x < L::kProducts, sends = threadIdx.x == L::kProducts;
  const auto send_weight = [&](int piece, int stage) {
    arrive_expecting(&arrived[stage], L::kPieceBytes);
    copy_box(base + stage * L::kPieceBytes + L::kXBytes, &weight_map, (first + piece) * kDepth, column, &arrived[stage]);
  };
  const auto send_x = [&](int piece, int stage) {
    copy_box(base + stage * L::kPieceBytes, &x_map, (first + piece) * kDepth, row, &arrived[stage]);
  };
  const int early = min(pieces, stages);
  if (sends) {
    init_ring(arrived, released, stages, kGroups);
    fence_barriers();
    for (int piece = 0; piece < early; ++piece) send_weight(piece, piece);
  }
  const int lane = threadIdx.x % 32;
  const int own_column = column + block * L::kOwn + lane % 4 * 2;
  float2 bias[L::kOwn / 8] = {};
  if (multiplies) {
#pragma unroll
    for (int i = 0; i < L::kOwn / 8; ++i) {
      if (p.bias && own_column + i * 8 < p.columns) bias[i] = *reinterpret_cast<const float2*>(p.bias + own_column + i * 8);
    }
  }
  __syncwarp();
  // That this block has begun. Every thread takes part in a cluster's barriers: with warps that end before others wait, a cluster of two was seen
  // to wait for ever.
  if constexpr (kBlocks > 1) arrive_at_cluster();
  __syncthreads();    // barriers are there
  begin_dependent();  // results may go where its operands lie

  float sums[kColumns / 2];
#pragma unroll
  for (int i = 0; i < kColumns / 2; ++i) sums[i] = 0;
  if (sends) {
    for (int piece = 0; piece < early; ++piece) send_x(piece, piece);
    send_released(early, pieces, stages, released, [&](int piece, int stage) {
      send_weight(piece, stage);
      send_x(piece, stage);
    });
  } else if (multiplies) {
    multiply_pieces<T, L, kColumns>(sums, base, arrived, released, pieces, stages, lane);
  }
  __syncwarp();

  float own[L::kOwn / 2];
  if constexpr (kBlocks > 1) {
    exchange_sums<L, kBlocks>(sums, own, parts, block, multiplies);
    if (!multiplies) return;
    float total[L::kOwn / 2];
#pragma unroll
    for (int from = 0; from < kBlocks; ++from) {
#pragma unroll
      for (int i = 0; i < L::kOwn / 8; ++i) {
        float4 part = *reinterpret_cast<const float4*>(parts + ((from * (L::kOwn / 8) + i) * L::kProducts + threadIdx.x) * 4);
        if (from == block) part = {own[i * 4], own[i * 4 + 1], own[i * 4 + 2], own[i * 4 + 3]};
        total[i * 4] = from == 0 ? part.x : total[i * 4] + part.x;
        total[i * 4 + 1] = from == 0 ? part.y : total[i * 4 + 1] + part.y;
        total[i * 4 + 2] = from == 0 ? part.z : total[i * 4 + 2] + part.z;
        total[i * 4 + 3] = from == 0 ? part.w : total[i * 4 + 3] + part.w;
      }
    }
#pragma unroll
    for (int i = 0; i < L::kOwn / 2; ++i) own[i] = total[i];
  } else {
    if (!multiplies) return;
#pragma unroll
    for (int i = 0; i < L::kOwn / 2; ++i) own[i] = sums[i];
  }

  const bool gelu = p.activation == Activation::gelu;
  bool bad = false;
  // Of so many runs of eight columns a lane stores one whole, which takes shuffles; of one its two columns.
  const auto store = [&](auto at_a_time) {
    constexpr int kRuns = at_a_time.value;
    static_assert(L::kOwn / 8 % kRuns == 0);
    const int stored_column = column + block * L::kOwn + lane % 4 * (kRuns > 1 ? 8 : 2);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t own_row = row + static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4 + half * 8;
      if (kRuns == 1 && own_row >= rows) continue;
      T* const y = static_cast<T*>(p.y) + own_row * p.columns;
#pragma unroll
      for (int i = 0; i < L::kOwn / 8; i += kRuns) {
        if (kRuns == 1 && own_column + i * 8 >= p.columns) continue;
        uint32_t words[kRuns];
#pragma unroll
        for (int k = 0; k < kRuns; ++k) {
          float2 value{own[(i + k) * 4 + half * 2] + bias[i + k].x, own[(i + k) * 4 + half * 2 + 1] + bias[i + k].y};
          if (kOverflows && own_row < rows && own_column + (i + k) * 8 < p.columns)
            bad |= !(fabsf(value.x) < 65520.0f && fabsf(value.y) < 65520.0f);  // from where f16 rounds to infinity
          if (gelu) value = {gelu_in_16_bits(value.x), gelu_in_16_bits(value.y)};
          words[k] = pair<T>(value.x, value.y);
        }
        if constexpr (kRuns == 1) {
          *reinterpret_cast<uint32_t*>(y + stored_column + i * 8) = words[0];
        } else {
          const uint4 run = transposed_words(words, lane);
          if (own_row < rows && stored_column + i * 8 < p.columns) *reinterpret_cast<uint4*>(y + stored_column + i * 8) = run;
        }
      }
    }
  };
  // Large tiles wait for their stores, unless beside GELU.
  using One = std::integral_constant<int, 1>;
  using Most = std::integral_constant<int, kGroups == 1 ? 1 : 4>;
  if (kGroups > 1 && !gelu)
    store(Most{});
  else
    store(One{});
  if (kOverflows && p.overflow && bad) atomicMin(p.overflow, p.step);
#endif
}

template <typename T, int kGroups, int kColumns, int kBlocks>
cudaError_t launch(const SixteenBits& p, cudaStream_t stream) {
  using L = ClusterLayout<kGroups, kColumns, kBlocks>;
  const auto kernel = cluster_linear<T, kGroups, kColumns, kBlocks>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kClusterMostBytes);
  TensorMap x{}, weight{};
  if (error == cudaSuccess) error = map_matrix(p.x, p.element, p.rows, p.depth, p.depth, L::kRows, kDepth, x);
  if (error == cudaSuccess) error = map_matrix(p.weight, p.element, p.columns, p.depth, p.depth, kColumns, kDepth, weight);
  if (error != cudaSuccess) return error;
  const int64_t tiles = (p.rows + L::kRows - 1) / L::kRows * ((p.columns + kColumns - 1) / kColumns);
  const int bytes = L::bytes(std::min(pieces_of_block(p.depth, kBlocks), L::kStages));
  return launch_dependent_clusters(kernel, static_cast<unsigned>(tiles * kBlocks), L::kProducts + 32, kBlocks,
                                   static_cast<size_t>(bytes), stream, p, x, weight);
}

template <typename T>
cudaError_t launch(const SixteenBits& p, cudaStream_t stream) {
  return with_cluster_tile(p.tile, [&](auto groups, auto columns, auto blocks) {
    return launch<T, groups.value, columns.value, blocks.value>(p, stream);
  });
}

}  // namespace

cudaError_t launch_cluster_linear(const ClusterLinearParams& p, cudaStream_t stream) {
  if (p.operands != LinearOperands::elements) return launch_eight_bit_cluster_linear(p, stream);
  if (!cluster_linear_takes(p.element, p.columns, p.depth) || p.quantized.values ||
      (p.activation != Activation::gelu && p.activation != Activation::none))
    return cudaErrorInvalidValue;
  if (p.rows == 0 || p.columns == 0) return cudaSuccess;
  SixteenBits operands{};
  operands.x = p.x;
  operands.weight = p.weight;
  operands.bias = p.bias;
  operands.y = p.y;
  operands.element = p.element;
  operands.activation = p.activation;
  operands.rows = p.rows;
  operands.columns = p.columns;
  operands.depth = p.depth;
  operands.live_rows = p.live_rows;
  operands.overflow = p.overflow;
  operands.step = p.step;
  operands.tile = p.tile;
  return p.element == Element::f16 ? launch<__half>(operands, stream) : launch<__nv_bfloat16>(operands, stream);
}

}  // namespace bertie::cuda
