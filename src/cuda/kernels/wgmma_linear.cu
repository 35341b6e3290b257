// Blocks stay, and take tile after tile of 128 rows: one warp sends for pieces of 128 bytes along the depth, two warpgroups multiply 64 rows each.
// A tile's sums are rounded to 16 bits as soon as they are complete, and their activation and store run beside the products of the next tile,
// which warpgroups only start and wait for.
#include "cuda/kernels/wgmma_linear.h"

#include <algorithm>
#include <type_traits>

#include "cuda/kernels/activation.cuh"
#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kRows = 128, kRowBytes = kWgmmaLinearPieceBytes,
              kGroupBytes = 8 * kRowBytes;  // of a tile; of a piece, and of eight rows of it
constexpr int kGroups = 2, kWarps = kGroups * 4,
              kThreads = (1 + kGroups) * 128;  // a warpgroup that sends, and those that multiply
constexpr int kWarpRows = 16;

// X: of operands.
template <typename X, int kColumns>
struct Layout {
  static constexpr bool kScaled = sizeof(X) == 1;
  static constexpr int kDepth = kRowBytes / static_cast<int>(sizeof(X));  // of a piece
  static constexpr int kChunk = kScaled && kColumns > 32 ? 64 : 32;       // columns that are finished beside one piece's products
  static constexpr int kChunks = kColumns / kChunk, kStages = kColumns > 128 ? 4 : 6;
  static constexpr int kXBytes = kRows * kRowBytes, kStageBytes = kXBytes + kColumns * kRowBytes;
  static constexpr int kStoreColumns = kColumns < 64 ? kColumns : 64,
                       kStoreBytes = kWarpRows * kStoreColumns * 2;  // of one warp's box
  static constexpr int kBoxChunks = kStoreColumns / kChunk;
  static constexpr int kStores = kScaled ? 1 : 2;  // boxes of a warp: one is filled while the one before is read
  // Of columns: the bias, and the weights' scales. What is sent for early must not meet a tile that is still read.
  static constexpr int kVectors = kScaled ? 2 : 1, kVectorBytes = kColumns * 4, kBuffers = kScaled ? 3 : 2;
  static constexpr int kLeastPieces = kChunks > kStages / (kBuffers - 1) ? kChunks : kStages / (kBuffers - 1);
  static constexpr int kStoreAt = kStages * kStageBytes, kVectorsAt = kStoreAt + kWarps * kStores * kStoreBytes;
  static constexpr int kBarriersAt = kVectorsAt + kBuffers * kVectors * kVectorBytes;
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

// X: of operands, Y: of the result.
template <typename X, typename Y, int kColumns, bool kGelu>
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_linear(const WgmmaLinearParams p, const __grid_constant__ TensorMap x_map, const __grid_constant__ TensorMap weight_map,
                 const __grid_constant__ TensorMap y_map) {
#ifdef BERTIE_HOPPER
  using L = Layout<X, kColumns>;
  using Sum = std::conditional_t<L::kScaled, int32_t, float>;
  constexpr bool kOverflows = std::is_same_v<Y, __half>, kHolds = sizeof(Y) == 2;
  extern __shared__ __align__(1024) unsigned char base[];
  float* const vectors = reinterpret_cast<float*>(base + L::kVectorsAt);  // of kBuffers tiles, the bias first
  uint64_t* const arrived = reinterpret_cast<uint64_t*>(base + L::kBarriersAt);
  uint64_t* const released = arrived + L::kStages;

  begin_dependent();
  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int across = static_cast<int>((p.columns + kColumns - 1) / kColumns);
  const int tiles = static_cast<int>((rows + kRows - 1) / kRows) * across;
  const int pieces = static_cast<int>((p.depth + L::kDepth - 1) / L::kDepth);
  const int first = blockIdx.x, step = gridDim.x;

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < L::kStages; ++stage) {
      init_barrier(&arrived[stage], 1);
      init_barrier(&released[stage], kWarps);
    }
    fence_barriers();
  }
  // Zeros where there is no bias, or no such column.
  for (int i = threadIdx.x; i < L::kBuffers * L::kVectors * kColumns; i += kThreads) vectors[i] = 0;
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
      for (int tile = first; tile < tiles; tile += step, buffer = (buffer + 1) % L::kBuffers) {
        const int row = tile / across * kRows, column = tile % across * kColumns;
        const int vector_bytes = static_cast<int>(min(int64_t{kColumns}, p.columns - column)) * 4;
        for (int piece = 0; piece < pieces; ++piece, next_stage()) {
          unsigned char* const x = base + stage * L::kStageBytes;
          unsigned char* const weight = x + L::kXBytes;
          float* const vector = vectors + buffer * L::kVectors * kColumns;
          const int sent = piece > 0 ? 0 : (p.bias ? vector_bytes : 0) + (L::kScaled ? vector_bytes : 0);
          wait(&released[stage], parity ^ 1);
          arrive_expecting(&arrived[stage], L::kStageBytes + sent);
          copy_box(x, &x_map, piece * L::kDepth, row, &arrived[stage]);
          copy_box(weight, &weight_map, piece * L::kDepth, column, &arrived[stage]);
          if (piece == 0 && p.bias) copy_bytes(vector, p.bias + column, vector_bytes, &arrived[stage]);
          if (piece == 0 && L::kScaled) copy_bytes(vector + kColumns, p.weight_scale + column, vector_bytes, &arrived[stage]);
        }
      }
    }
  } else {
    take_registers<232>();
    const int lane = threadIdx.x % 32, warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0) - 4;  // known to be a warp's own
    const uint64_t x_operand = describe(base + warp / 4 * 64 * kRowBytes, kGroupBytes, 16, 1),
                   weight_operand = describe(base + L::kXBytes, kGroupBytes, 16, 1);  // of the first stage
    unsigned char* const store_boxes = base + L::kStoreAt + warp * L::kStores * L::kStoreBytes;
    Sum sums[kColumns / 2];
    uint32_t held[kHolds ? kColumns / 4 : 1];  // the tile before's, two neighbours each
#pragma unroll
    for (int i = 0; i < (kHolds ? kColumns / 4 : 1); ++i) held[i] = 0;
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
      for (int k = 0; k < kRowBytes / 32; ++k)
        WarpgroupProduct<X, kColumns>::shared(sums, x_operand + at + k * 2, weight_operand + at + k * 2, add || k > 0);
      commit_products();
    };
    // Columns `chunk` * kChunk onwards of what is held.
    const auto finish = [&](int chunk) {
      unsigned char* const box = store_boxes + chunk / L::kBoxChunks % L::kStores * L::kStoreBytes;
      if (chunk % L::kBoxChunks == 0) {
        if (lane == 0) wait_stores<L::kStores - 1>();
        __syncwarp();
      }
#pragma unroll
      for (int i = 0; i < L::kChunk / 16; ++i) {
        uint32_t four[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          four[k] = held[chunk * (L::kChunk / 4) + i * 4 + k];
          if constexpr (kOverflows) poison[k % 2] = __hfma2(pair_in<Y>(four[k]), __half2{}, poison[k % 2]);
        }
        if constexpr (kGelu && kHolds) apply_gelu<Y>(four);
        // Swizzled over a row of the box, as the copy engine reads it.
        const int row = lane % 8 + lane / 8 % 2 * 8, within = chunk % L::kBoxChunks * (L::kChunk / 8) + i * 2 + lane / 16;
        const int place = L::kStoreColumns == 64 ? within ^ row % 8 : within ^ row / 2 % 4;
        store_matrices(box + row * L::kStoreColumns * 2 + place * 16, four);
      }
      if (chunk % L::kBoxChunks == L::kBoxChunks - 1) {
        fence_shared();
        __syncwarp();
        if (lane == 0 && holds) {
          store_box(&y_map, held_column + (chunk / L::kBoxChunks) * L::kStoreColumns, held_row + warp * kWarpRows, box);
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
    // Of columns `column` and the next, in rows lane / 4 and that + 8.
    const auto results = [&](int i, const float(&x_scale)[2], float(&y)[4]) {
      const float* const vector = vectors + buffer * L::kVectors * kColumns + i * 8 + lane % 4 * 2;
      const float2 bias = *reinterpret_cast<const float2*>(vector);
      if constexpr (L::kScaled) {
        const float2 scale = *reinterpret_cast<const float2*>(vector + kColumns);
#pragma unroll
        for (int k = 0; k < 4; ++k)
          y[k] = fmaf(static_cast<float>(sums[i * 4 + k]), x_scale[k / 2] * (k % 2 ? scale.y : scale.x), k % 2 ? bias.y : bias.x);
      } else {
#pragma unroll
        for (int k = 0; k < 4; ++k) y[k] = sums[i * 4 + k] + (k % 2 ? bias.y : bias.x);
      }
    };

    for (int tile = first; tile < tiles; tile += step, buffer = (buffer + 1) % L::kBuffers) {
      const int row = tile / across * kRows, column = tile % across * kColumns, own_row = row + warp * kWarpRows + lane / 4;
      float x_scale[2] = {};
      if constexpr (L::kScaled) {
#pragma unroll
        for (int k = 0; k < 2; ++k)
          if (own_row + k * 8 < rows) x_scale[k] = p.x_scale[p.x_scales ? own_row + k * 8 : 0];
      }
      int before = 0;
      constexpr int kBeside = kHolds ? L::kChunks : 1;
#pragma unroll
      for (int chunk = 0; chunk < kBeside; ++chunk) {
        multiply(chunk > 0);
        if (chunk > 0) {
          wait_products<1>();
          release(before);
        }
        if constexpr (kHolds) finish(chunk);
        before = stage;
        next_stage();
      }
      for (int piece = kBeside; piece < pieces; ++piece) {
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
      held_column = column;
      holds = true;
#pragma unroll
      for (int i = 0; i < kColumns / 8; ++i) {
        float y[4];
        results(i, x_scale, y);
        if constexpr (kHolds) {
          held[i * 2] = pair<Y>(y[0], y[1]);
          held[i * 2 + 1] = pair<Y>(y[2], y[3]);
        } else {
          const int64_t own_column = column + i * 8 + lane % 4 * 2;
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            float2 two{y[k * 2], y[k * 2 + 1]};
            if constexpr (kGelu) two = {apply<Y>(Activation::gelu, two.x), apply<Y>(Activation::gelu, two.y)};
            if (own_row + k * 8 < rows && own_column < p.columns)
              *reinterpret_cast<float2*>(static_cast<float*>(p.y) + (own_row + k * 8) * p.columns + own_column) = two;
          }
        }
      }
    }
    if constexpr (kHolds) {
#pragma unroll
      for (int chunk = 0; chunk < L::kChunks; ++chunk) finish(chunk);
      wait_stores<0>();
    }
  }
#endif
}

template <typename X, typename Y, int kColumns, bool kGelu>
cudaError_t launch(const WgmmaLinearParams& p, int multiprocessors, cudaStream_t stream) {
  using L = Layout<X, kColumns>;
  static_assert(L::kBytes <= 227 * 1024);
  const auto kernel = wgmma_linear<X, Y, kColumns, kGelu>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, L::kBytes);
  TensorMap x{}, weight{}, y{};
  if (error == cudaSuccess) error = map_matrix(p.x, p.operand, p.rows, p.depth, p.depth, kRows, L::kDepth, x);
  if (error == cudaSuccess) error = map_matrix(p.weight, p.operand, p.columns, p.depth, p.depth, kColumns, L::kDepth, weight);
  if (error == cudaSuccess && sizeof(Y) == 2)
    error = map_matrix(p.y, p.element, p.rows, p.columns, p.columns, kWarpRows, L::kStoreColumns, y);
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

template <typename X, typename Y, bool kGelu>
cudaError_t launch_tile(const WgmmaLinearParams& p, int multiprocessors, cudaStream_t stream) {
  int columns = p.tile_columns;
  const auto offer = [&](auto width) {
    using L = Layout<X, width.value>;
    if (p.tile_columns || L::kLeastPieces * L::kDepth >= p.depth + L::kDepth) return;
    if (!columns || cost(p, multiprocessors, width.value) <= cost(p, multiprocessors, columns)) columns = width.value;
  };
  offer(std::integral_constant<int, 32>{});
  offer(std::integral_constant<int, 64>{});
  offer(std::integral_constant<int, 128>{});
  offer(std::integral_constant<int, 192>{});
  offer(std::integral_constant<int, 256>{});
  switch (columns) {
    case 32: return launch<X, Y, 32, kGelu>(p, multiprocessors, stream);
    case 64: return launch<X, Y, 64, kGelu>(p, multiprocessors, stream);
    case 128: return launch<X, Y, 128, kGelu>(p, multiprocessors, stream);
    case 192: return launch<X, Y, 192, kGelu>(p, multiprocessors, stream);
    case 256: return launch<X, Y, 256, kGelu>(p, multiprocessors, stream);
    default: return cudaErrorInvalidValue;
  }
}

template <typename X, typename Y>
cudaError_t launch_activation_of(const WgmmaLinearParams& p, int multiprocessors, cudaStream_t stream) {
  return p.activation == Activation::gelu ? launch_tile<X, Y, true>(p, multiprocessors, stream)
                                          : launch_tile<X, Y, false>(p, multiprocessors, stream);
}

}  // namespace

cudaError_t launch_wgmma_linear(const WgmmaLinearParams& p, cudaStream_t stream) {
  const bool scaled = p.operand == Element::i8;
  if (!wgmma_linear_takes(p.operand, p.columns, p.depth) || (scaled ? !p.x_scale || !p.weight_scale : p.element != p.operand) ||
      (p.activation != Activation::none && p.activation != Activation::gelu))
    return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  int device = 0, multiprocessors = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  if (scaled) {
    return with_element(p.element,
                        [&](auto type) { return launch_activation_of<int8_t, decltype(type)>(p, multiprocessors, stream); });
  }
  return p.element == Element::f16 ? launch_activation_of<__half, __half>(p, multiprocessors, stream)
                                   : launch_activation_of<__nv_bfloat16, __nv_bfloat16>(p, multiprocessors, stream);
}

}  // namespace bertie::cuda
