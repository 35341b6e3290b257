// A block takes a tile and a share of the depth, in pieces of 128 bytes: one warp sends for them, warpgroups multiply 64 rows each. Unlike
// cluster_linear's its sums go to memory at once: waiting for those of other blocks takes longer than a layer norm does that reads them all.
#include "cuda/kernels/split_linear.h"

#include <algorithm>
#include <type_traits>

#include "cuda/kernels/cluster_tile.cuh"
#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/pairs.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kDepth = kClusterDepth;

template <typename T, int kGroups, int kColumns>
__global__ void __launch_bounds__(kGroups * 128 + 32, 1)
    split_linear(const SplitLinearParams p, const __grid_constant__ TensorMap x_map,
                 const __grid_constant__ TensorMap weight_map) {
#ifdef BERTIE_HOPPER
  using L = ClusterLayout<kGroups, kColumns, 1>;
  constexpr bool kOverflows = std::is_same_v<T, __half>;
  extern __shared__ __align__(1024) unsigned char base[];
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int down = static_cast<int>((p.rows + L::kRows - 1) / L::kRows),
            across = static_cast<int>((p.columns + kColumns - 1) / kColumns);
  const int part = static_cast<int>(blockIdx.x) / (down * across), tile = static_cast<int>(blockIdx.x) % (down * across);
  const int row = tile % down * L::kRows, column = tile / down * kColumns;
  if (row >= rows) {  // the first block only where no row is live
    if (blockIdx.x == 0) begin_dependent();
    return;
  }
  const int most = pieces_of_block(p.depth, p.tile.parts), first = part * most, stages = min(most, L::kStages);
  const int pieces = max(0, min(most, static_cast<int>((p.depth + kDepth - 1) / kDepth) - first));
  uint64_t* const arrived = reinterpret_cast<uint64_t*>(base + L::barriers_at(stages));
  uint64_t* const released = arrived + stages;

  const auto send_weight = [&](int piece, int stage) {
    arrive_expecting(&arrived[stage], L::kPieceBytes);
    copy_box(base + stage * L::kPieceBytes + L::kXBytes, &weight_map, (first + piece) * kDepth, column, &arrived[stage]);
  };
  const auto send_x = [&](int piece, int stage) {
    copy_box(base + stage * L::kPieceBytes, &x_map, (first + piece) * kDepth, row, &arrived[stage]);
  };
  const bool sends = threadIdx.x == L::kProducts;
  const int early = min(pieces, stages);
  if (sends) {
    init_ring(arrived, released, stages, kGroups);
    fence_barriers();
    for (int piece = 0; piece < early; ++piece) send_weight(piece, piece);
  }
  const int lane = static_cast<int>(threadIdx.x) % 32, own_column = column + lane % 4 * 2;
  float2 bias[kColumns / 8] = {};
  if (p.bias && part == 0 && !sends) {
#pragma unroll
    for (int i = 0; i < kColumns / 8; ++i)
      if (own_column + i * 8 < p.columns) bias[i] = *reinterpret_cast<const float2*>(p.bias + own_column + i * 8);
  }
  __syncthreads();    // barriers are there
  begin_dependent();  // results may go where its operands lie
  if (sends) {
    for (int piece = 0; piece < early; ++piece) send_x(piece, piece);
    send_released(early, pieces, stages, released, [&](int piece, int stage) {
      send_weight(piece, stage);
      send_x(piece, stage);
    });
  }
  if (threadIdx.x >= L::kProducts) return;

  float sums[kColumns / 2];
#pragma unroll
  for (int i = 0; i < kColumns / 2; ++i) sums[i] = 0;
  multiply_pieces<T, L, kColumns>(sums, base, arrived, released, pieces, stages, lane);

  // Of four runs of eight columns a lane stores one whole.
  constexpr int kRuns = 4;
  static_assert(kColumns / 8 % kRuns == 0);
  bool bad = false;
#pragma unroll
  for (int i = 0; i < kColumns / 8; i += kRuns) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t own_row = row + static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4 + half * 8;
      uint32_t words[kRuns];
#pragma unroll
      for (int k = 0; k < kRuns; ++k) {
        const float2 value{sums[(i + k) * 4 + half * 2] + bias[i + k].x, sums[(i + k) * 4 + half * 2 + 1] + bias[i + k].y};
        if (kOverflows && own_row < rows && column + (i + k) * 8 < p.columns)
          bad |= !(fabsf(value.x) < 65520.0f && fabsf(value.y) < 65520.0f);  // from where f16 rounds to infinity
        words[k] = pair<T>(value.x, value.y);
      }
      const uint4 run = transposed_words(words, lane);
      const int stored_column = column + (i + lane % 4) * 8;
      if (own_row < rows && stored_column < p.columns)
        *reinterpret_cast<uint4*>(static_cast<T*>(p.y) + (part * p.rows + own_row) * p.columns + stored_column) = run;
    }
  }
  if (kOverflows && p.overflow && bad) atomicMin(p.overflow, p.step);
#endif
}

template <typename T, int kGroups, int kColumns>
cudaError_t launch(const SplitLinearParams& p, cudaStream_t stream) {
  using L = ClusterLayout<kGroups, kColumns, 1>;
  const auto kernel = split_linear<T, kGroups, kColumns>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kClusterMostBytes);
  TensorMap x{}, weight{};
  if (error == cudaSuccess) error = map_matrix(p.x, p.element, p.rows, p.depth, p.depth, L::kRows, kDepth, x);
  if (error == cudaSuccess) error = map_matrix(p.weight, p.element, p.columns, p.depth, p.depth, kColumns, kDepth, weight);
  if (error != cudaSuccess) return error;
  const int64_t tiles = (p.rows + L::kRows - 1) / L::kRows * ((p.columns + kColumns - 1) / kColumns);
  const int bytes = L::bytes(std::min(pieces_of_block(p.depth, p.tile.parts), L::kStages));
  return launch_dependent(kernel, static_cast<unsigned>(tiles * p.tile.parts), L::kProducts + 32, static_cast<size_t>(bytes),
                          stream, p, x, weight);
}

template <typename T>
cudaError_t launch(const SplitLinearParams& p, cudaStream_t stream) {
  const auto is = [&](int rows, int columns) { return p.tile.rows == rows && p.tile.columns == columns; };
  if (is(64, 64)) return launch<T, 1, 64>(p, stream);
  if (is(128, 64)) return launch<T, 2, 64>(p, stream);
  if (is(128, 96)) return launch<T, 2, 96>(p, stream);
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_split_linear(const SplitLinearParams& p, cudaStream_t stream) {
  if (p.element == Element::f32 || p.columns % 8 != 0 || p.depth % 8 != 0 || p.depth == 0 || p.tile.parts < 2 ||
      p.tile.parts > kMostLayerNormParts)
    return cudaErrorInvalidValue;
  if (p.rows == 0 || p.columns == 0) return cudaSuccess;
  return p.element == Element::f16 ? launch<__half>(p, stream) : launch<__nv_bfloat16>(p, stream);
}

}  // namespace bertie::cuda
