// Blocks stay, and take tile after tile of 128 rows: one warp sends for pieces of 64 along the depth, two warpgroups multiply 64 rows each.
// A tile's sums are rounded to 16 bits as soon as they are complete, and their activation and store run beside the products of the next tile,
// which warpgroups only start and wait for.
#include "cuda/kernels/wgmma_linear.h"

#include <algorithm>
#include <type_traits>

#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/gelu.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kRows = 128, kDepth = 64;  // of a tile, of a piece
constexpr int kGroups = 2, kWarps = kGroups * 4,
              kThreads = (1 + kGroups) * 128;  // a warpgroup that sends, and those that multiply
constexpr int kWarpRows = 16;
constexpr int kChunk = 32;  // columns whose activation runs beside one piece's products

template <int kColumns>
struct Layout {
  static constexpr int kStages = kColumns > 128 ? 4 : 6, kChunks = kColumns / kChunk;
  static constexpr int kRowBytes = kDepth * 2, kGroupBytes = 8 * kRowBytes;
  static constexpr int kXBytes = kRows * kRowBytes, kStageBytes = kXBytes + kColumns * kRowBytes;
  static constexpr int kStoreColumns = kColumns < 64 ? kColumns : 64,
                       kStoreBytes = kWarpRows * kStoreColumns * 2;  // of one warp's box
  static constexpr int kStores = 2;  // boxes of a warp: one is filled while the one before is read
  static constexpr int kStoreAt = kStages * kStageBytes, kBiasAt = kStoreAt + kWarps * kStores * kStoreBytes;
  static constexpr int kBarriersAt = kBiasAt + 2 * kColumns * 4;
  static constexpr int kBytes = kBarriersAt + 2 * kStages * 8;
};

template <typename T>
struct PairOf;
template <>
struct PairOf<__half> {
  using Type = __half2;
};
template <>
struct PairOf<__nv_bfloat16> {
  using Type = __nv_bfloat162;
};
template <typename T>
using Pair = typename PairOf<T>::Type;

template <typename T>
__device__ inline Pair<T> pair_in(uint32_t bits) {
  return *reinterpret_cast<const Pair<T>*>(&bits);
}
__device__ inline float2 floats(__half2 x) { return __half22float2(x); }
__device__ inline float2 floats(__nv_bfloat162 x) { return __bfloat1622float2(x); }
__device__ inline bool is_poisoned(__half2 x) { return !(__low2float(x) == 0.0f && __high2float(x) == 0.0f); }

// GELU of pairs in 16 bits; see gelu.cuh for what lies below -6.
template <typename T>
__device__ inline void apply_gelu(uint32_t (&pairs)[4]) {
  const Pair<T> least{T(-6.0f), T(-6.0f)};
  float x[8];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 two = floats(__hmax2_nan(pair_in<T>(pairs[i]), least));
    x[2 * i] = two.x;
    x[2 * i + 1] = two.y;
  }
  gelu_in_16_bits(x);
#pragma unroll
  for (int i = 0; i < 4; ++i) pairs[i] = pair<T>(x[2 * i], x[2 * i + 1]);
}

template <typename T, int kColumns, bool kGelu>
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_linear(const WgmmaLinearParams p, const __grid_constant__ TensorMap x_map, const __grid_constant__ TensorMap weight_map,
                 const __grid_constant__ TensorMap y_map) {
#ifdef BERTIE_HOPPER
  using L = Layout<kColumns>;
  constexpr bool kOverflows = std::is_same_v<T, __half>;
  extern __shared__ __align__(1024) unsigned char base[];
  float* const biases = reinterpret_cast<float*>(base + L::kBiasAt);  // of two tiles
  uint64_t* const arrived = reinterpret_cast<uint64_t*>(base + L::kBarriersAt);
  uint64_t* const released = arrived + L::kStages;

  begin_dependent();
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int across = static_cast<int>((p.columns + kColumns - 1) / kColumns);
  const int tiles = static_cast<int>((rows + kRows - 1) / kRows) * across;
  const int pieces = static_cast<int>((p.depth + kDepth - 1) / kDepth);
  const int first = blockIdx.x, step = gridDim.x;

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < L::kStages; ++stage) {
      init_barrier(&arrived[stage], 1);
      init_barrier(&released[stage], kWarps);
    }
    fence_barriers();
  }
  for (int i = threadIdx.x; i < 2 * kColumns; i += kThreads) biases[i] = 0;  // also where there is none, or no such column
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
      int buffer = 0;
      for (int tile = first; tile < tiles; tile += step, buffer ^= 1) {
        const int row = tile / across * kRows, column = tile % across * kColumns;
        const int bias_bytes = p.bias ? static_cast<int>(min(int64_t{kColumns}, p.columns - column)) * 4 : 0;
        for (int piece = 0; piece < pieces; ++piece, next_stage()) {
          unsigned char* const x = base + stage * L::kStageBytes;
          unsigned char* const weight = x + L::kXBytes;
          wait(&released[stage], parity ^ 1);
          arrive_expecting(&arrived[stage], L::kStageBytes + (piece == 0 ? bias_bytes : 0));
          copy_box(x, &x_map, piece * kDepth, row, &arrived[stage]);
          copy_box(weight, &weight_map, piece * kDepth, column, &arrived[stage]);
          if (piece == 0 && bias_bytes) copy_bytes(biases + buffer * kColumns, p.bias + column, bias_bytes, &arrived[stage]);
        }
      }
    }
  } else {
    take_registers<232>();
    const int lane = threadIdx.x % 32, warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0) - 4;  // known to be a warp's own
    const uint64_t x_operand = describe(base + warp / 4 * 64 * L::kRowBytes, L::kGroupBytes, 16, 1),
                   weight_operand = describe(base + L::kXBytes, L::kGroupBytes, 16, 1);  // of the first stage
    unsigned char* const store = base + L::kStoreAt + warp * L::kStores * L::kStoreBytes;
    float sums[kColumns / 2];
    uint32_t held[kColumns / 4];  // the tile before's, two neighbours each
#pragma unroll
    for (int i = 0; i < kColumns / 4; ++i) held[i] = 0;
    int held_row = 0, held_column = 0, buffer = 0;
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
      for (int k = 0; k < kDepth / 16; ++k)
        WarpgroupProduct<T, kColumns>::shared(sums, x_operand + at + k * 2, weight_operand + at + k * 2, add || k > 0);
      commit_products();
    };
    // Columns `chunk` * kChunk onwards of what is held.
    const auto finish = [&](int chunk) {
      constexpr int kBoxChunks = L::kStoreColumns / kChunk;
      unsigned char* const box = store + chunk / kBoxChunks % L::kStores * L::kStoreBytes;
      if (chunk % kBoxChunks == 0) {
        if (lane == 0) wait_stores<L::kStores - 1>();
        __syncwarp();
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        uint32_t four[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          four[k] = held[chunk * 8 + i * 4 + k];
          if constexpr (kOverflows) poison[k % 2] = __hfma2(pair_in<T>(four[k]), __half2{}, poison[k % 2]);
        }
        if constexpr (kGelu) apply_gelu<T>(four);
        // Swizzled over a row of the box, as the copy engine reads it.
        const int row = lane % 8 + lane / 8 % 2 * 8, within = chunk % kBoxChunks * 4 + i * 2 + lane / 16;
        const int place = kBoxChunks == 2 ? within ^ row % 8 : within ^ row / 2 % 4;
        store_matrices(box + row * L::kStoreColumns * 2 + place * 16, four);
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

    for (int tile = first; tile < tiles; tile += step, buffer ^= 1) {
      int before = 0;
#pragma unroll
      for (int chunk = 0; chunk < L::kChunks; ++chunk) {
        multiply(chunk > 0);
        if (chunk > 0) {
          wait_products<1>();
          release(before);
        }
        finish(chunk);
        before = stage;
        next_stage();
      }
      for (int piece = L::kChunks; piece < pieces; ++piece) {
        multiply(true);
        wait_products<1>();
        release(before);
        before = stage;
        next_stage();
      }
      wait_products<0>();
      hold(sums);
      release(before);
      held_row = tile / across * kRows;
      held_column = tile % across * kColumns;
      holds = true;
      const float* const bias = biases + buffer * kColumns + lane % 4 * 2;
#pragma unroll
      for (int i = 0; i < kColumns / 8; ++i) {
        const float2 add = *reinterpret_cast<const float2*>(bias + i * 8);
        held[i * 2] = pair<T>(sums[i * 4] + add.x, sums[i * 4 + 1] + add.y);
        held[i * 2 + 1] = pair<T>(sums[i * 4 + 2] + add.x, sums[i * 4 + 3] + add.y);
      }
    }
#pragma unroll
    for (int chunk = 0; chunk < L::kChunks; ++chunk) finish(chunk);
    wait_stores<0>();
  }
#endif
}

template <typename T, int kColumns, bool kGelu>
cudaError_t launch(const WgmmaLinearParams& p, int multiprocessors, cudaStream_t stream) {
  using L = Layout<kColumns>;
  static_assert(L::kBytes <= 227 * 1024);
  const auto kernel = wgmma_linear<T, kColumns, kGelu>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, L::kBytes);
  TensorMap x{}, weight{}, y{};
  if (error == cudaSuccess) error = map_matrix(p.x, p.element, p.rows, p.depth, p.depth, kRows, kDepth, x);
  if (error == cudaSuccess) error = map_matrix(p.weight, p.element, p.columns, p.depth, p.depth, kColumns, kDepth, weight);
  if (error == cudaSuccess) error = map_matrix(p.y, p.element, p.rows, p.columns, p.columns, kWarpRows, L::kStoreColumns, y);
  if (error != cudaSuccess) return error;
  const int64_t tiles = (p.rows + kRows - 1) / kRows * ((p.columns + kColumns - 1) / kColumns);
  return launch_dependent(kernel, static_cast<unsigned>(std::min<int64_t>(tiles, multiprocessors)), kThreads, L::kBytes, stream,
                          p, x, weight, y);
}

// Turns of all multiprocessors times what a piece of a tile moves through shared memory, which is what products wait for.
int64_t cost(const WgmmaLinearParams& p, int multiprocessors, int columns) {
  const int64_t tiles = (p.rows + kRows - 1) / kRows * ((p.columns + columns - 1) / columns);
  return (tiles + multiprocessors - 1) / multiprocessors * (256 + 3 * columns);
}

}  // namespace

cudaError_t launch_wgmma_linear(const WgmmaLinearParams& p, cudaStream_t stream) {
  const bool gelu = p.activation == Activation::gelu;
  if (!wgmma_linear_takes(p.element, p.columns, p.depth) || (!gelu && p.activation != Activation::none))
    return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  int device = 0, multiprocessors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  int columns = p.tile_columns;
  for (const int offer : {32, 64, 128, 192, 256}) {
    if (p.tile_columns || offer / kChunk * kDepth > p.depth) continue;
    if (!columns || cost(p, multiprocessors, offer) <= cost(p, multiprocessors, columns)) columns = offer;
  }
  const auto with_tile = [&](auto type, auto activation) {
    using T = decltype(type);
    constexpr bool kGelu = activation.value;
    switch (columns) {
      case 32: return launch<T, 32, kGelu>(p, multiprocessors, stream);
      case 64: return launch<T, 64, kGelu>(p, multiprocessors, stream);
      case 128: return launch<T, 128, kGelu>(p, multiprocessors, stream);
      case 192: return launch<T, 192, kGelu>(p, multiprocessors, stream);
      case 256: return launch<T, 256, kGelu>(p, multiprocessors, stream);
      default: return cudaErrorInvalidValue;
    }
  };
  const auto with_activation = [&](auto type) {
    return gelu ? with_tile(type, std::true_type{}) : with_tile(type, std::false_type{});
  };
  return p.element == Element::f16 ? with_activation(__half{}) : with_activation(__nv_bfloat16{});
}

}  // namespace bertie::cuda
