// cluster_linear in eight bits. As in 16 (cluster_linear.cu) a cluster takes a tile, each of its blocks a part of the depth, and every block sends each
// other the sums of that one's columns. A column's bias and scales come by the copy engine too, and are waited for behind the products. (One
// template for both was tried: in 16 bits a layer of BERT took 1.5 us longer by it, why is not known.)
#include "cuda/kernels/cluster_linear.h"

#include <algorithm>
#include <type_traits>

#include "cuda/kernels/cluster_tile.cuh"
#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/gelu.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/pairs.cuh"
#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kLine = kClusterLine;

// What a column brings besides its weights.
enum ColumnList { kBiases, kScales, kInverses, kOffsets };

// X: of x and weight, Y: of y.
template <typename X, typename Y, int kGroups, int kColumns, int kBlocks>
struct Layout {
  static constexpr bool kQuantizes = sizeof(Y) == 1;
  static constexpr int kDepth = kLine;
  static constexpr int kRows = kGroups * 64, kProducts = kGroups * 128;  // threads that multiply
  static constexpr int kXBytes = kRows * kLine, kPieceBytes = kXBytes + kColumns * kLine;
  static constexpr int kOwn = kColumns / kBlocks;  // columns whose sums a block adds up
  static constexpr int kPartBytes = kBlocks > 1 ? kRows* kColumns * 4 : 0;
  static constexpr int kLists = kQuantizes ? 4 : 2, kListBytes = kLists * kOwn * 4;
  static constexpr int kStages = (kClusterMostBytes - 1024 - kPartBytes - kListBytes) / kPieceBytes;
  static_assert(kOwn % 16 == 0);
  // `stages`: pieces that are there at a time.
  static __host__ __device__ int parts_at(int stages) { return stages * kPieceBytes; }
  static __host__ __device__ int lists_at(int stages) { return parts_at(stages) + kPartBytes; }
  static __host__ __device__ int barriers_at(int stages) { return lists_at(stages) + kListBytes; }
  static __host__ __device__ int bytes(int stages) { return barriers_at(stages) + stages * 16 + 8; }
  static __host__ __device__ int pieces(int64_t depth) { return static_cast<int>((depth + kDepth - 1) / kDepth); }
  // Of a block, at most.
  static __host__ __device__ int pieces_of_block(int64_t depth) { return (pieces(depth) + kBlocks - 1) / kBlocks; }
};

#ifdef BERTIE_HOPPER

// What becomes of sums of products in eight bits, by wgmma_linear's rule. A thread has two neighbours of each eight of `column` and on, in its row
// and that + 8; `column` is its block's, as `lists` are: what lies there for columns beyond the last is anything, and not stored. (A run at a time
// where round_sums takes all: registers are few.)
template <typename L, typename Y, typename Sum>
__device__ inline void finish_eight_bits(const ClusterLinearParams& p, const Sum (&sums)[L::kOwn / 2], const float (&x_scales)[2],
                                         const float* lists, int64_t row, int column, int64_t rows) {
  constexpr int kRuns = L::kOwn / 8 < 4 ? L::kOwn / 8 : 4;  // of eight columns, at a time
  const int lane = threadIdx.x % 32;
  const bool gelu = p.activation == Activation::gelu;
  __half2 poison[2] = {};  // NaN once a value is not finite
#pragma unroll
  for (int first = 0; first < L::kOwn / 8; first += kRuns) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bool live = row + half * 8 < rows;
      const int64_t y = (row + half * 8) * p.columns + column;  // the first of the block's columns
      uint32_t pairs[kRuns];
#pragma unroll
      for (int i = 0; i < kRuns; ++i) {
        const int at = (first + i) * 8 + lane % 4 * 2;
        const float2 bias = p.bias ? *reinterpret_cast<const float2*>(lists + kBiases * L::kOwn + at) : float2{},
                     scale = *reinterpret_cast<const float2*>(lists + kScales * L::kOwn + at);
        const Sum* const two = sums + (first + i) * 4 + half * 2;
        pairs[i] = pair<__half>(fmaf(static_cast<float>(two[0]), __fmul_rn(x_scales[half], scale.x), bias.x),
                                fmaf(static_cast<float>(two[1]), __fmul_rn(x_scales[half], scale.y), bias.y));
        if (column + at < p.columns) poison[half] = __hfma2(pair_in<__half>(pairs[i]), __half2{}, poison[half]);
      }
      if constexpr (L::kQuantizes) {
        if (gelu) apply_coarse_gelu(pairs);
#pragma unroll
        for (int i = 0; i < kRuns; ++i) {
          const int at = (first + i) * 8 + lane % 4 * 2;
          const float2 inverse = *reinterpret_cast<const float2*>(lists + kInverses * L::kOwn + at),
                       offset = *reinterpret_cast<const float2*>(lists + kOffsets * L::kOwn + at);
          const float2 x = floats(pair_in<__half>(pairs[i]));
          const float low = fmaf(x.x, inverse.x, offset.x), high = fmaf(x.y, inverse.y, offset.y);
          pairs[i] = std::is_same_v<Y, int8_t> ? pair_of_int8(low, high) : pair_of_e4m3(low, high);
        }
        auto codes = transposed(pairs, lane);
        const int at = first * 8 + (kRuns == 4 ? lane % 4 * 8 : lane % 2 * 8 + lane % 4 / 2 * 4);
        if (live && column + at < p.columns) *reinterpret_cast<decltype(codes)*>(p.quantized.values + y + at) = codes;
      } else {
        if (gelu) apply_gelu<__half>(pairs);
#pragma unroll
        for (int i = 0; i < kRuns; ++i) {
          const int at = (first + i) * 8 + lane % 4 * 2;
          if (live && column + at < p.columns) *reinterpret_cast<uint32_t*>(static_cast<__half*>(p.y) + y + at) = pairs[i];
        }
      }
    }
  }
  if (p.overflow && ((is_poisoned(poison[0]) && row < rows) || (is_poisoned(poison[1]) && row + 8 < rows)))
    atomicMin(p.overflow, p.step);
}

#endif

template <typename X, typename Y, int kGroups, int kColumns, int kBlocks>
__global__ void __launch_bounds__(kGroups * 128 + 32, 1)
    eight_bit_cluster_linear(const ClusterLinearParams p, const __grid_constant__ TensorMap x_map,
                             const __grid_constant__ TensorMap weight_map) {
#ifdef BERTIE_HOPPER
  using L = Layout<X, Y, kGroups, kColumns, kBlocks>;
  using Sum = std::conditional_t<std::is_same_v<X, int8_t>, int32_t, float>;
  extern __shared__ __align__(1024) unsigned char base[];
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int block = static_cast<int>(blockIdx.x) % kBlocks, tile = static_cast<int>(blockIdx.x) / kBlocks;
  const int down = static_cast<int>((p.rows + L::kRows - 1) / L::kRows);
  const int row = tile % down * L::kRows, column = tile / down * kColumns;
  if (row >= rows) {  // as all of the cluster; the first block only where no row is live
    if (blockIdx.x == 0) begin_dependent();
    return;
  }
  const int most = L::pieces_of_block(p.depth), first = block * most, stages = min(most, L::kStages);
  const int pieces = max(0, min(most, L::pieces(p.depth) - first));
  Sum* const parts = reinterpret_cast<Sum*>(base + L::parts_at(stages));
  float* const lists = reinterpret_cast<float*>(base + L::lists_at(stages));
  uint64_t* const arrived = reinterpret_cast<uint64_t*>(base + L::barriers_at(stages));
  uint64_t* const released = arrived + stages;
  uint64_t* const listed = released + stages;

  const bool multiplies = threadIdx.x < L::kProducts, sends = threadIdx.x == L::kProducts;
  const auto send_weight = [&](int piece, int stage) {
    arrive_expecting(&arrived[stage], L::kPieceBytes);
    copy_box(base + stage * L::kPieceBytes + L::kXBytes, &weight_map, (first + piece) * L::kDepth, column, &arrived[stage]);
  };
  const auto send_x = [&](int piece, int stage) {
    copy_box(base + stage * L::kPieceBytes, &x_map, (first + piece) * L::kDepth, row, &arrived[stage]);
  };
  const int list_columns = static_cast<int>(max(int64_t{0}, min(int64_t{L::kOwn}, p.columns - column - block * L::kOwn)));
  const float* const sources[] = {p.bias, p.w_scale, p.quantized.quantization,
                                  L::kQuantizes ? p.quantized.quantization + p.columns : nullptr};
  // Calls with each list that there is.
  const auto for_lists = [&](auto body) {
#pragma unroll
    for (int list = 0; list < L::kLists; ++list) {
      if (list_columns > 0 && sources[list]) body(list, sources[list] + column + block * L::kOwn);
    }
  };
  const int early = min(pieces, stages);
  if (sends) {
    init_ring(arrived, released, stages, kGroups);
    init_barrier(listed, 1);
    fence_barriers();
    for (int piece = 0; piece < early; ++piece) send_weight(piece, piece);
    for_lists([&](int, const float* source) { prefetch_bytes(source, list_columns * 4); });
  }
  const int lane = threadIdx.x % 32;
  __syncwarp();
  // That this block has begun. Every thread takes part in a cluster's barriers: with warps that end before others wait, a cluster of two was seen
  // to wait for ever.
  if constexpr (kBlocks > 1) arrive_at_cluster();
  __syncthreads();    // barriers are there
  begin_dependent();  // results may go where its operands lie

  const int64_t own_row = row + static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4;  // and that + 8
  float x_scales[2] = {};
  if (multiplies) {
#pragma unroll
    for (int i = 0; i < 2; ++i) x_scales[i] = p.x_scale[p.one_scale ? 0 : min(own_row + i * 8, rows - 1)];
  }
  Sum sums[kColumns / 2];
#pragma unroll
  for (int i = 0; i < kColumns / 2; ++i) sums[i] = 0;
  if (sends) {
    for (int piece = 0; piece < early; ++piece) send_x(piece, piece);
    arrive_expecting(listed, (L::kLists - (p.bias ? 0 : 1)) * list_columns * 4);
    for_lists([&](int list, const float* source) { copy_bytes(lists + list * L::kOwn, source, list_columns * 4, listed); });
    send_released(early, pieces, stages, released, [&](int piece, int stage) {
      send_weight(piece, stage);
      send_x(piece, stage);
    });
  } else if (multiplies) {
    multiply_pieces<X, L, kColumns>(sums, base, arrived, released, pieces, stages, lane);
  }
  __syncwarp();

  Sum own[L::kOwn / 2];
  if constexpr (kBlocks > 1) {
    exchange_sums<L, kBlocks>(sums, own, parts, block, multiplies);
    if (!multiplies) return;
    Sum total[L::kOwn / 2];
#pragma unroll
    for (int from = 0; from < kBlocks; ++from) {
#pragma unroll
      for (int i = 0; i < L::kOwn / 8; ++i) {
        auto part = four(own + i * 4);
        if (from != block) {
          const Sum* const there = parts + ((from * (L::kOwn / 8) + i) * L::kProducts + threadIdx.x) * 4;
          part = *reinterpret_cast<const decltype(part)*>(there);
        }
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

  wait(listed, 0);
  finish_eight_bits<L, Y>(p, own, x_scales, lists, own_row, column + block * L::kOwn, rows);
#endif
}

template <typename X, typename Y, int kGroups, int kColumns, int kBlocks>
cudaError_t launch(const ClusterLinearParams& p, cudaStream_t stream) {
  using L = Layout<X, Y, kGroups, kColumns, kBlocks>;
  const auto kernel = eight_bit_cluster_linear<X, Y, kGroups, kColumns, kBlocks>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kClusterMostBytes);
  TensorMap x{}, weight{};
  if (error == cudaSuccess) error = map_bytes(p.x, p.rows, p.depth, L::kRows, L::kDepth, x);
  if (error == cudaSuccess) error = map_bytes(p.weight, p.columns, p.depth, kColumns, L::kDepth, weight);
  if (error != cudaSuccess) return error;
  const int64_t tiles = (p.rows + L::kRows - 1) / L::kRows * ((p.columns + kColumns - 1) / kColumns);
  const int bytes = L::bytes(std::min(L::pieces_of_block(p.depth), L::kStages));
  return launch_dependent_clusters(kernel, static_cast<unsigned>(tiles * kBlocks), L::kProducts + 32, kBlocks,
                                   static_cast<size_t>(bytes), stream, p, x, weight);
}

template <typename X, typename Y>
cudaError_t launch(const ClusterLinearParams& p, cudaStream_t stream) {
  return with_cluster_tile(p.tile, [&](auto groups, auto columns, auto blocks) {
    return launch<X, Y, groups.value, columns.value, blocks.value>(p, stream);
  });
}

template <typename X>
cudaError_t launch(const ClusterLinearParams& p, cudaStream_t stream) {
  return p.quantized.values ? launch<X, X>(p, stream) : launch<X, __half>(p, stream);
}

}  // namespace

cudaError_t launch_eight_bit_cluster_linear(const ClusterLinearParams& p, cudaStream_t stream) {
  const bool quantizes = p.quantized.values != nullptr, fp8 = p.operands == LinearOperands::fp8;
  if (!wgmma_linear_takes_eight_bits(p.columns, p.depth) || p.element != Element::f16 || !p.x_scale || !p.w_scale ||
      (quantizes && (!p.quantized.quantization || p.quantized.scales || (p.quantized.e4m3 != 0) != fp8)) ||
      (p.activation != Activation::gelu && p.activation != Activation::none))
    return cudaErrorInvalidValue;
  if (p.rows == 0 || p.columns == 0) return cudaSuccess;
  return fp8 ? launch<__nv_fp8_e4m3>(p, stream) : launch<int8_t>(p, stream);
}

}  // namespace bertie::cuda
