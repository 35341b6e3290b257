// Blocks stay, and take tile after tile of 128 rows: one warp sends for pieces of 128 bytes along the depth, two warpgroups multiply 64 rows each.
// A tile's sums are rounded to 16 bits as soon as they are complete, and their activation and store run beside the products of the next tile,
// which warpgroups only start and wait for.
#include "cuda/kernels/wgmma_linear.h"

#include <algorithm>
#include <type_traits>

#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/gelu.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/pairs.cuh"
#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/rounded_sums.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kRows = 128, kLine = 128;  // of a tile; bytes of a piece's line along the depth
constexpr int kGroups = 2, kWarps = kGroups * 4,
              kThreads = (1 + kGroups) * 128;  // a warpgroup that sends, and those that multiply
constexpr int kWarpRows = 16;
constexpr int kChunk = 16;  // columns that are finished at a time

// What a column brings besides its weights.
enum ColumnList { kBiases, kScales, kInverses, kOffsets };

// Turns beside the products of a tile's first pieces in which the tile before is finished: few, so that shallow products have them too.
template <typename X>
constexpr int few_turns(int columns) {
  return std::max(columns / (sizeof(X) == 1 ? 64 : 32), 1);
}

// X: of x and weight, Y: of y. kTilesTurns: of few_turns, or more for deep products, so that less stands beside each.
// kOneInverse: results of eight bits have one inverse scale, and no offsets.
template <typename X, typename Y, int kColumns, int kTilesTurns, bool kOneInverse>
struct Layout {
  static constexpr bool kScaled = sizeof(X) == 1, kQuantizes = sizeof(Y) == 1;
  static constexpr int kDepth = kLine / static_cast<int>(sizeof(X));
  static constexpr int kStages = kColumns > 128 ? 4 : 6, kChunks = kColumns / kChunk;
  static constexpr int kTurns = kTilesTurns;  // pieces that a tile has at least
  static_assert(kTurns <= kChunks);           // each has some
  static constexpr __host__ __device__ int first_chunk(int turn) { return turn * kChunks / kTurns; }
  static constexpr int kGroupBytes = 8 * kLine;
  static constexpr int kXBytes = kRows * kLine, kStageBytes = kXBytes + kColumns * kLine;
  static constexpr int kStoreLine = kScaled || kColumns < 64 ? 64 : 128;  // bytes of a row of a warp's box
  static constexpr int kStoreColumns = kStoreLine / static_cast<int>(sizeof(Y)), kStoreBytes = kWarpRows * kStoreLine;
  // Boxes of a warp: one is filled while the one before is read; or all of a tile, where there is room.
  static constexpr int kStores = !kScaled && kColumns == 192 ? 3 : 2;
  static constexpr int kLists = kQuantizes && !kOneInverse ? 4 : kScaled ? 2 : 1;
  // Tiles whose lists are kept. What is sent is at most kStages pieces ahead of the slowest warp, which reads lists of a tile until its
  // results are finished, in turn kTurns - 1 of the next: (kListTiles - 1) * pieces >= kStages + kTurns - 1, of kLeastPieces and more where x
  // is of eight bits; else of six, and biases are not read so long.
  static constexpr int kListTiles = kScaled ? 4 : 2;
  static constexpr int kLeastPieces = kTurns > 3 ? kTurns : 3;  // those beyond the depth are read as zeros
  static_assert(!kScaled || (kListTiles - 1) * kLeastPieces >= kStages + kTurns - 1);
  static constexpr int kStoreAt = kStages * kStageBytes, kListsAt = kStoreAt + kWarps * kStores * kStoreBytes;
  static constexpr int kBarriersAt = kListsAt + kListTiles * kLists * kColumns * 4;
  static constexpr int kBytes = kBarriersAt + 2 * kStages * 8;
};

// T: what sums are rounded to.
template <typename X, typename T, typename Y, int kColumns, bool kGelu, int kTurns, bool kOneInverse>
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_linear(const WgmmaLinearParams p, const __grid_constant__ TensorMap x_map, const __grid_constant__ TensorMap weight_map,
                 const __grid_constant__ TensorMap y_map) {
#ifdef BERTIE_HOPPER
  using L = Layout<X, Y, kColumns, kTurns, kOneInverse>;
  constexpr int kDepth = L::kDepth;
  constexpr bool kOverflows = std::is_same_v<T, __half>;
  extern __shared__ __align__(1024) unsigned char base[];
  float* const lists = reinterpret_cast<float*>(base + L::kListsAt);
  uint64_t* const arrived = reinterpret_cast<uint64_t*>(base + L::kBarriersAt);
  uint64_t* const released = arrived + L::kStages;

  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int across = static_cast<int>((p.columns + kColumns - 1) / kColumns);
  const int tiles = static_cast<int>((rows + kRows - 1) / kRows) * across;
  const int pieces = max(static_cast<int>((p.depth + kDepth - 1) / kDepth), L::kScaled ? L::kLeastPieces : 0);
  const int first = blockIdx.x, step = gridDim.x;
  const bool backward = is_backward(p.step, rows);
  const auto row_of = [&](int tile) { return (backward ? tiles - 1 - tile : tile) / across * kRows; };
  const auto column_of = [&](int tile) { return (backward ? tiles - 1 - tile : tile) % across * kColumns; };

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < L::kStages; ++stage) {
      init_barrier(&arrived[stage], 1);
      init_barrier(&released[stage], kWarps);
    }
    fence_barriers();
  }
  // Also where there is no bias, or no such column.
  for (int i = threadIdx.x; i < L::kListTiles * L::kLists * kColumns; i += kThreads) lists[i] = 0;
  fence_shared();
  __syncthreads();

  int stage = 0, parity = 0;
  const auto next_stage = [&] {
    if (++stage == L::kStages) {
      stage = 0;
      parity ^= 1;
    }
  };
  if (threadIdx.x < 128) {
    leave_registers<40>();
    if (threadIdx.x == 0) {
      const float* const sources[] = {p.bias, p.w_scale, p.quantized.quantization,
                                      L::kLists > 2 ? p.quantized.quantization + p.columns : nullptr};
      const auto list_bytes = [&](int column) { return static_cast<int>(min(int64_t{kColumns}, p.columns - column)) * 4; };
      const auto expect = [&](int piece, int column) {
        arrive_expecting(&arrived[stage],
                         L::kStageBytes + (piece == 0 ? (L::kLists - (p.bias ? 0 : 1)) * list_bytes(column) : 0));
      };
      const auto send_constants = [&](int piece, int column, int buffer) {
        copy_box(base + stage * L::kStageBytes + L::kXBytes, &weight_map, piece * kDepth, column, &arrived[stage]);
        if (piece > 0) return;
#pragma unroll
        for (int list = 0; list < L::kLists; ++list) {
          if (list == kBiases && !p.bias) continue;
          copy_bytes(lists + (buffer * L::kLists + list) * kColumns, sources[list] + column, list_bytes(column), &arrived[stage]);
        }
      };
      // Those of the first pieces are on their way before x is there.
      const int early = first < tiles ? min(pieces, L::kStages) : 0;
      for (; stage < early; ++stage) {
        expect(stage, column_of(first));
        send_constants(stage, column_of(first), 0);
      }
      stage = 0;
      begin_dependent();
      int buffer = 0;
      for (int tile = first; tile < tiles; tile += step, buffer = (buffer + 1) % L::kListTiles) {
        const int row = row_of(tile), column = column_of(tile);
        for (int piece = 0; piece < pieces; ++piece, next_stage()) {
          if (tile > first || piece >= early) {
            wait(&released[stage], parity ^ 1);
            expect(piece, column);
            send_constants(piece, column, buffer);
          }
          copy_box(base + stage * L::kStageBytes, &x_map, piece * kDepth, row, &arrived[stage]);
        }
      }
    }
  } else {
    begin_dependent();
    take_registers<232>();
    const int lane = threadIdx.x % 32, warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0) - 4;  // known to be a warp's own
    const uint64_t x_operand = describe(base + warp / 4 * 64 * kLine, L::kGroupBytes, 16, 1),
                   weight_operand = describe(base + L::kXBytes, L::kGroupBytes, 16, 1);  // of the first stage
    unsigned char* const store = base + L::kStoreAt + warp * L::kStores * L::kStoreBytes;
    std::conditional_t<std::is_same_v<X, int8_t>, int32_t, float> sums[kColumns / 2];
    uint32_t held[kColumns / 4];  // the tile before's, two neighbours each
#pragma unroll
    for (int i = 0; i < kColumns / 4; ++i) held[i] = 0;
    int held_row = 0, held_column = 0, buffer = 0;
    const float* held_lists = lists;
    bool holds = false;
    __half2 poison[2] = {};  // of rows lane / 4 and that + 8: NaN once a value is not finite

    const auto release = [&](int of) {
      __syncwarp();
      if (lane == 0) arrive(&released[of]);
    };
    const auto multiply = [&](bool add) {
      const int at = stage * (L::kStageBytes >> 4);
      wait(&arrived[stage], parity);
      hold(sums);
      begin_products();
#pragma unroll
      for (int k = 0; k < kLine / 32; ++k)
        WarpgroupProduct<X, kColumns>::shared(sums, x_operand + at + k * 2, weight_operand + at + k * 2, add || k > 0);
      commit_products();
    };
    // Columns `chunk` * kChunk onwards of what is held.
    const auto finish = [&](int chunk) {
      constexpr int kBoxChunks = L::kStoreColumns / kChunk, kLineBytes = L::kStoreLine;
      unsigned char* const box = store + chunk / kBoxChunks % L::kStores * L::kStoreBytes;
      if (chunk % kBoxChunks == 0) {
        if (lane == 0) wait_stores<L::kStores - 1>();
        __syncwarp();
      }
      uint32_t four[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        four[k] = held[chunk * 4 + k];
        if constexpr (kOverflows) poison[k % 2] = __hfma2(pair_in<T>(four[k]), __half2{}, poison[k % 2]);
      }
      if constexpr (kGelu && L::kQuantizes)
        apply_coarse_gelu(four);
      else if constexpr (kGelu)
        apply_gelu<T>(four);
      // Swizzled over a row of the box, as the copy engine reads it.
      if constexpr (L::kQuantizes) {
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const int column = chunk * kChunk + k / 2 * 8 + lane % 4 * 2, row = lane / 4 + k % 2 * 8;
          const int within = chunk % kBoxChunks * kChunk + k / 2 * 8 + lane % 4 * 2;  // bytes
          uint32_t both;
          if constexpr (kOneInverse) {
            both = pair_of_e4m3(
                __hfma2(pair_in<__half>(four[k]), __float2half2_rn(p.quantized.inverse), __half2{}));  // no zero but 0
          } else {
            const float2 inverse = *reinterpret_cast<const float2*>(held_lists + kInverses * kColumns + column),
                         offset = *reinterpret_cast<const float2*>(held_lists + kOffsets * kColumns + column);
            const float2 x = floats(pair_in<T>(four[k]));
            const float low = fmaf(x.x, inverse.x, offset.x), high = fmaf(x.y, inverse.y, offset.y);
            both = std::is_same_v<Y, int8_t> ? pair_of_int8(low, high) : pair_of_e4m3(low, high);
          }
          *reinterpret_cast<uint16_t*>(box + row * kLineBytes + ((within / 16) ^ (row / 2 % 4)) * 16 + within % 16) =
              static_cast<uint16_t>(both);
        }
      } else {
        const int row = lane % 8 + lane / 8 % 2 * 8, within = chunk % kBoxChunks * 2 + lane / 16;
        const int place = kLineBytes == 128 ? within ^ row % 8 : within ^ row / 2 % 4;
        store_matrices(box + row * kLineBytes + place * 16, four);
      }
      if (chunk % kBoxChunks == kBoxChunks - 1) {
        fence_shared();
        __syncwarp();
        if (lane == 0 && holds) {
          store_box(&y_map, held_column + (chunk / kBoxChunks) * L::kStoreColumns, held_row + warp * kWarpRows, box);
          commit_stores();
        }
      }
      if (kOverflows && chunk == L::kChunks - 1) {
        const int64_t row = held_row + warp * kWarpRows + lane / 4;
        if (p.overflow && holds && ((is_poisoned(poison[0]) && row < rows) || (is_poisoned(poison[1]) && row + 8 < rows)))
          atomicMin(p.overflow, p.step);
        poison[0] = poison[1] = {};
      }
    };

    for (int tile = first; tile < tiles; tile += step, buffer = (buffer + 1) % L::kListTiles) {
      int before = 0;
      const int row = row_of(tile);
      float x_scales[2] = {};  // of rows lane / 4 and that + 8
      if constexpr (L::kScaled) {
#pragma unroll
        for (int i = 0; i < 2; ++i)
          x_scales[i] = p.x_scale[p.one_scale ? 0 : min(int64_t{row + warp * kWarpRows + lane / 4 + i * 8}, rows - 1)];
      }
#pragma unroll
      for (int turn = 0; turn < L::kTurns; ++turn) {
        multiply(turn > 0);
        // Part of it before the products before are waited for: they need not be done yet.
        finish(L::first_chunk(turn));
        if (turn > 0) {
          wait_products<1>();
          release(before);
        }
#pragma unroll
        for (int chunk = L::first_chunk(turn) + 1; chunk < L::first_chunk(turn + 1); ++chunk) finish(chunk);
        before = stage;
        next_stage();
      }
      for (int piece = L::kTurns; piece < pieces; ++piece) {
        multiply(true);
        wait_products<1>();
        release(before);
        before = stage;
        next_stage();
      }
      wait_products<0>();
      hold(sums);
      release(before);
      held_row = row;
      held_column = column_of(tile);
      holds = true;
      held_lists = lists + buffer * L::kLists * kColumns;
      const float* const own = held_lists + lane % 4 * 2;
      round_sums<T, L::kScaled>(sums, own + kBiases * kColumns, own + kScales * kColumns, x_scales, p.one_scale != 0, held);
    }
#pragma unroll
    for (int chunk = 0; chunk < L::kChunks; ++chunk) finish(chunk);
    wait_stores<0>();
  }
#endif
}

template <typename X, typename T, typename Y, int kColumns, bool kGelu, int kTurns, bool kOneInverse>
cudaError_t launch_kernel(const WgmmaLinearParams& p, int multiprocessors, cudaStream_t stream) {
  using L = Layout<X, Y, kColumns, kTurns, kOneInverse>;
  static_assert(L::kBytes <= 227 * 1024);
  const auto kernel = wgmma_linear<X, T, Y, kColumns, kGelu, kTurns, kOneInverse>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, L::kBytes);
  TensorMap x{}, weight{}, y{};
  const auto map = [&](auto element, const void* matrix, int64_t rows, int64_t columns, int box_rows, int box_columns,
                       TensorMap& to) {
    if (error != cudaSuccess) return;
    error = sizeof(element) == 1 ? map_bytes(matrix, rows, columns, box_rows, box_columns, to)
                                 : map_matrix(matrix, p.element, rows, columns, columns, box_rows, box_columns, to);
  };
  map(X{}, p.x, p.rows, p.depth, kRows, L::kDepth, x);
  map(X{}, p.weight, p.columns, p.depth, kColumns, L::kDepth, weight);
  map(Y{}, L::kQuantizes ? p.quantized.values : p.y, p.rows, p.columns, kWarpRows, L::kStoreColumns, y);
  if (error != cudaSuccess) return error;
  const int64_t tiles = (p.rows + kRows - 1) / kRows * ((p.columns + kColumns - 1) / kColumns);
  return launch_dependent(kernel, static_cast<unsigned>(std::min<int64_t>(tiles, multiprocessors)), kThreads, L::kBytes, stream,
                          p, x, weight, y);
}

template <typename X, typename T, typename Y, int kColumns, bool kGelu>
cudaError_t launch(const WgmmaLinearParams& p, int multiprocessors, cudaStream_t stream) {
  constexpr int kFewTurns = few_turns<X>(kColumns);
  if constexpr (kGelu && kColumns >= 192) {
    constexpr int kManyTurns = sizeof(X) == 1 ? 6 : 12;  // as many pieces as 768 columns have
    if (p.depth * static_cast<int64_t>(sizeof(X)) > (kManyTurns - 1) * kLine) {
      if constexpr (std::is_same_v<Y, __nv_fp8_e4m3>) {
        if (p.quantized.inverse != 0)
          return launch_kernel<X, T, Y, kColumns, kGelu, kManyTurns, true>(p, multiprocessors, stream);
      }
      return launch_kernel<X, T, Y, kColumns, kGelu, kManyTurns, false>(p, multiprocessors, stream);
    }
  }
  return launch_kernel<X, T, Y, kColumns, kGelu, kFewTurns, false>(p, multiprocessors, stream);
}

// Turns of all multiprocessors times what a piece of a tile moves through shared memory, which is what products wait for; where tiles
// are few, of GELU what no products run beside, that of the last tile.
int64_t cost(const WgmmaLinearParams& p, int multiprocessors, int columns) {
  const int64_t tiles = (p.rows + kRows - 1) / kRows * ((p.columns + columns - 1) / columns);
  const bool counts_gelu = p.activation == Activation::gelu && p.rows <= 2048;
  return (tiles + multiprocessors - 1) / multiprocessors * (256 + 3 * columns) + (counts_gelu ? 9 * columns : 0);
}

int tile_columns_of(const WgmmaLinearParams& p, int multiprocessors) {
  const bool gelu = p.activation == Activation::gelu, scaled = p.operands != LinearOperands::elements;
  // Of 16 bits, one turn that takes nearly all multiprocessors is the fastest, though no products run beside its GELU.
  const int64_t wide_tiles = (p.rows + kRows - 1) / kRows * ((p.columns + 191) / 192);
  if (gelu && !scaled && few_turns<__half>(192) * 64 <= p.depth && wide_tiles <= multiprocessors &&
      wide_tiles * 8 > multiprocessors * 7)
    return 192;
  int columns = 0;
  for (const int offer : {32, 64, 128, 192, 256}) {
    if ((!scaled && few_turns<__half>(offer) * 64 > p.depth) || (p.quantized.values && offer < 64)) continue;
    if (!columns || cost(p, multiprocessors, offer) <= cost(p, multiprocessors, columns)) columns = offer;
  }
  return columns;
}

}  // namespace

cudaError_t launch_wgmma_linear(const WgmmaLinearParams& p, cudaStream_t stream) {
  const bool gelu = p.activation == Activation::gelu, scaled = p.operands != LinearOperands::elements,
             quantizes = p.quantized.values != nullptr;
  const bool takes = scaled ? wgmma_linear_takes_eight_bits(p.columns, p.depth) && p.element == Element::f16
                            : wgmma_linear_takes(p.element, p.columns, p.depth) && !quantizes;
  if (!takes || (quantizes && (p.quantized.e4m3 != 0) != (p.operands == LinearOperands::fp8)) ||
      (!gelu && p.activation != Activation::none))
    return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  int multiprocessors = 0;
  cudaError_t error = count_multiprocessors(multiprocessors);
  if (error != cudaSuccess) return error;
  const int columns = p.tile_columns ? p.tile_columns : tile_columns_of(p, multiprocessors);
  const auto with_tile = [&](auto x, auto rounded, auto y, auto activation) {
    using X = decltype(x);
    using T = decltype(rounded);
    using Y = decltype(y);
    constexpr bool kGelu = activation.value;
    switch (columns) {
      case 32:
        if constexpr (sizeof(Y) > 1) return launch<X, T, Y, 32, kGelu>(p, multiprocessors, stream);
        return cudaErrorInvalidValue;
      case 64: return launch<X, T, Y, 64, kGelu>(p, multiprocessors, stream);
      case 128: return launch<X, T, Y, 128, kGelu>(p, multiprocessors, stream);
      case 192: return launch<X, T, Y, 192, kGelu>(p, multiprocessors, stream);
      case 256: return launch<X, T, Y, 256, kGelu>(p, multiprocessors, stream);
      default: return cudaErrorInvalidValue;
    }
  };
  const auto with_activation = [&](auto x, auto rounded, auto y) {
    return gelu ? with_tile(x, rounded, y, std::true_type{}) : with_tile(x, rounded, y, std::false_type{});
  };
  if (p.operands == LinearOperands::fp8) {
    return quantizes ? with_activation(__nv_fp8_e4m3{}, __half{}, __nv_fp8_e4m3{})
                     : with_activation(__nv_fp8_e4m3{}, __half{}, __half{});
  }
  if (p.operands == LinearOperands::int8) {
    return quantizes ? with_activation(int8_t{}, __half{}, int8_t{}) : with_activation(int8_t{}, __half{}, __half{});
  }
  return p.element == Element::f16 ? with_activation(__half{}, __half{}, __half{})
                                   : with_activation(__nv_bfloat16{}, __nv_bfloat16{}, __nv_bfloat16{});
}

}  // namespace bertie::cuda
