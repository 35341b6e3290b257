// Blocks stay, in groups that take the same 128 rows at a time, each block with columns of its own: one warp sends for pieces of 128 bytes along
// the depth, two warpgroups multiply 64 rows each. A tile's sums are rounded to 16 bits as soon as they are complete; beside the products of the
// next tile the residual is added, row means and squares are posted to the group's other blocks, and, once theirs are there, rows are normalised
// and stored. A cluster would guarantee a group its multiprocessors, but clusters of four fill only 120 of an H200's 132.
#include "cuda/kernels/linear_layer_norm.h"

#include <algorithm>
#include <type_traits>

#include "cuda/kernels/dependent_launch.cuh"
#include "cuda/kernels/hopper.cuh"
#include "cuda/kernels/pairs.cuh"
#include "cuda/kernels/quantized_rows.cuh"
#include "cuda/kernels/rounded_sums.cuh"
#include "cuda/kernels/tensor_map.h"

namespace bertie::cuda {
namespace {

constexpr int kRows = 128, kLine = 128;  // of a tile; bytes of a piece's line along the depth
constexpr int kGroups = 2, kWarps = kGroups * 4, kThreads = (1 + kGroups) * 128;
constexpr int kWarpRows = 16, kBoxColumns = 64, kBoxBytes = kWarpRows * kBoxColumns * 2;  // of residual and y

enum ColumnList { kBiases, kGammas, kBetas, kScales, kInverses, kOffsets };

// How rows are given in eight bits beside y: not, by columns, or by one inverse scale and no offsets.
enum class EightBits { none, by_columns, by_one };

// X: of x and weight. kColumns: of a block. kRelaxed: there are as many pieces as finishing a tile box by box takes turns beside them.
template <typename X, int kColumns, int kBlocks, EightBits kGives, bool kRelaxed>
struct Layout {
  static constexpr bool kScaled = sizeof(X) == 1;
  static constexpr int kDepth = kLine / static_cast<int>(sizeof(X)), kStages = kColumns > 192 ? 3 : 4;
  static constexpr int kBoxes = kColumns / kBoxColumns;
  // Turns beside a tile's first pieces: the tile before is measured, a letter goes, and takes a while, as does a look for others'; then its
  // boxes are normalised.
  static constexpr int kSend = kRelaxed ? kBoxes - 1 : 0, kLook = kSend + 2, kNormalize = kLook + 1;
  static constexpr int kTurns = kNormalize + (kRelaxed ? kBoxes : 3);
  static constexpr __host__ __device__ int first_measured(int turn) { return turn * kBoxes / (kSend + 1); }
  static constexpr __host__ __device__ int first_normalized(int turn) {
    return (turn - kNormalize) * kBoxes / (kTurns - kNormalize);
  }
  static constexpr int kXBytes = kRows * kLine, kStageBytes = kXBytes + kColumns * kLine;
  static constexpr int kLists = kGives == EightBits::by_columns ? 6 : kScaled ? 4 : 3;
  static constexpr int kBoxesAt = kStages * kStageBytes, kListsAt = kBoxesAt + kWarps * kBoxes * kBoxBytes;
  static constexpr int kBarriersAt = kListsAt + kLists * kColumns * 4,
                       kBytes = kBarriersAt + (2 * kStages + kWarps * kBoxes + 1) * 8;
  static_assert(kColumns % kBoxColumns == 0 && kBoxes <= 4 && kBlocks <= 4);
};

#ifdef BERTIE_HOPPER

// The mean of so many numbers and the squares of their differences to it, added up.
struct Moments {
  float mean, squares;
};
// Of as many others too, `count` each.
__device__ inline Moments with_others(Moments a, Moments b, float count) {
  const float difference = b.mean - a.mean;
  return {(a.mean + b.mean) * 0.5f, a.squares + b.squares + difference * difference * count * 0.5f};
}

// Of four neighbouring lanes together, `count` numbers each.
__device__ inline Moments over_four_lanes(Moments own, float count) {
#pragma unroll
  for (int other = 1; other < 4; other *= 2, count *= 2) {
    own = with_others(own, {__shfl_xor_sync(0xffffffffu, own.mean, other), __shfl_xor_sync(0xffffffffu, own.squares, other)},
                      count);
  }
  return own;
}

// What a block posts to another of its group about a row, with a number that no letter of the row's mailbox had before (of the last 2^32 tiles of a
// stream). A mailbox is written again two tiles later: by then its reader has posted of the tile between, which it does after it has read.
struct Letter {
  Moments moments;
  uint32_t number;
};
using Mailbox = uint4;

__device__ inline void post(Mailbox* mailbox, Letter letter) {
  asm volatile(
      "{\n.reg .b64 low, high;\n.reg .b128 all;\nmov.b64 low, {%1, %2};\nmov.b64 high, {%3, %3};\nmov.b128 all, {low, high};\n"
      "st.relaxed.gpu.global.b128 [%0], all;\n}" ::"l"(mailbox),
      "r"(__float_as_uint(letter.moments.mean)), "r"(__float_as_uint(letter.moments.squares)), "r"(letter.number)
      : "memory");
}
__device__ inline Letter look(const Mailbox* mailbox) {
  uint32_t mean, squares, number;
  asm volatile(
      "{\n.reg .b64 low, high;\n.reg .b128 all;\nld.relaxed.gpu.global.b128 all, [%3];\nmov.b128 {low, high}, all;\n"
      "mov.b64 {%0, %1}, low;\nmov.b64 {%2, _}, high;\n}"
      : "=r"(mean), "=r"(squares), "=r"(number)
      : "l"(mailbox)
      : "memory");
  return {{__uint_as_float(mean), __uint_as_float(squares)}, number};
}

// For the letters of this launch, by each warp that exchanges them: the number that they follow. The first of the mailboxes keeps it, and how many
// warps know it; the last of these takes as many as a block sends for the launch.
__device__ inline uint32_t take_numbers(Mailbox* mailboxes, int count) {
  uint32_t* const number = &mailboxes->x;
  uint32_t before = 0;
  if (threadIdx.x % 32 == 0) {
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(before) : "l"(number) : "memory");
    __threadfence();  // read before it is counted, and counted by all before it changes
    if (atomicInc(&mailboxes->y, gridDim.x * kWarps - 1) == gridDim.x * kWarps - 1) {
      __threadfence();
      atomicAdd(number, static_cast<uint32_t>(count));
    }
  }
  return __shfl_sync(0xffffffffu, before, 0);
}

#endif

template <typename X, typename T, int kColumns, int kBlocks, EightBits kGives, bool kRelaxed>
__global__ void __launch_bounds__(kThreads, 1)
    linear_layer_norm(const LinearLayerNormParams p, const __grid_constant__ TensorMap x_map,
                      const __grid_constant__ TensorMap weight_map, const __grid_constant__ TensorMap residual_map,
                      const __grid_constant__ TensorMap y_map) {
#ifdef BERTIE_HOPPER
  using L = Layout<X, kColumns, kBlocks, kGives, kRelaxed>;
  constexpr int kDepth = L::kDepth;
  constexpr bool kOverflows = std::is_same_v<T, __half>;
  extern __shared__ __align__(1024) unsigned char base[];
  float* const lists = reinterpret_cast<float*>(base + L::kListsAt);
  uint64_t* const arrived = reinterpret_cast<uint64_t*>(base + L::kBarriersAt);
  uint64_t* const released = arrived + L::kStages;
  uint64_t* const residual_arrived = released + L::kStages;
  uint64_t* const lists_arrived = residual_arrived + kWarps * L::kBoxes;

  const int64_t rows = p.live_rows ? min(p.rows, int64_t{*p.live_rows}) : p.rows;
  const int tiles = static_cast<int>((rows + kRows - 1) / kRows);
  const bool backward = is_backward(p.step, rows);
  const auto row_of = [&](int tile) { return (backward ? tiles - 1 - tile : tile) * kRows; };
  const int pieces = static_cast<int>((p.depth + kDepth - 1) / kDepth);
  const int block = static_cast<int>(blockIdx.x) % kBlocks, column = block * kColumns;
  const int first = static_cast<int>(blockIdx.x) / kBlocks, step = static_cast<int>(gridDim.x) / kBlocks;

  if (threadIdx.x == 0) {
    for (int stage = 0; stage < L::kStages; ++stage) {
      init_barrier(&arrived[stage], 1);
      init_barrier(&released[stage], kWarps);
    }
    for (int i = 0; i < kWarps * L::kBoxes; ++i) init_barrier(&residual_arrived[i], 1);
    init_barrier(lists_arrived, 1);
    fence_barriers();
  }
  if (!p.bias) {
    for (int i = threadIdx.x; i < kColumns; i += kThreads) lists[kBiases * kColumns + i] = 0;
  }
  __syncthreads();

  if (threadIdx.x < 128) {
    leave_registers<40>();
    if (threadIdx.x == 0) {
      int stage = 0, parity = 0;
      // Weights of the first pieces are on their way before x is there.
      const int early = first < tiles ? min(pieces, L::kStages) : 0;
      for (int piece = 0; piece < early; ++piece) {
        arrive_expecting(&arrived[piece], L::kStageBytes);
        copy_box(base + piece * L::kStageBytes + L::kXBytes, &weight_map, piece * kDepth, column, &arrived[piece]);
      }
      if (first < tiles) {
        const float* const sources[] = {p.bias,
                                        p.gamma,
                                        p.beta,
                                        p.w_scale,
                                        p.quantized.quantization,
                                        kGives == EightBits::by_columns ? p.quantized.quantization + p.columns : nullptr};
        constexpr int kListBytes = kColumns * static_cast<int>(sizeof(float));
        int sent = 0;
#pragma unroll
        for (int list = 0; list < L::kLists; ++list) sent += sources[list] ? kListBytes : 0;
        arrive_expecting(lists_arrived, sent);
#pragma unroll
        for (int list = 0; list < L::kLists; ++list) {
          if (sources[list]) copy_bytes(lists + list * kColumns, sources[list] + column, kListBytes, lists_arrived);
        }
      }
      begin_dependent();
      for (int tile = first; tile < tiles; tile += step) {
        for (int piece = 0; piece < pieces; ++piece) {
          unsigned char* const x = base + stage * L::kStageBytes;
          if (tile > first || piece >= early) {
            wait(&released[stage], parity ^ 1);
            arrive_expecting(&arrived[stage], L::kStageBytes);
            copy_box(x + L::kXBytes, &weight_map, piece * kDepth, column, &arrived[stage]);
          }
          copy_box(x, &x_map, piece * kDepth, row_of(tile), &arrived[stage]);
          if (++stage == L::kStages) {
            stage = 0;
            parity ^= 1;
          }
        }
      }
    }
  } else {
    begin_dependent();
    take_registers<232>();
    const int lane = threadIdx.x % 32, warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0) - 4;  // known to be a warp's own
    const uint64_t x_operand = describe(base + warp / 4 * 64 * kLine, 8 * kLine, 16, 1),
                   weight_operand = describe(base + L::kXBytes, 8 * kLine, 16, 1);  // of the first stage
    unsigned char* const boxes = base + L::kBoxesAt + warp * L::kBoxes * kBoxBytes;
    const int own_row = warp * kWarpRows + lane / 4;  // of a tile, and that + 8
    int stage = 0, parity = 0;
    std::conditional_t<std::is_same_v<X, int8_t>, int32_t, float> sums[kColumns / 2];
    uint32_t held[kColumns / 4];  // the tile before's, two neighbours each
    int held_row = 0, finished = 0;
    bool holds = false;
    // Of a row and that + 8.
    float shift[2], shifted[2], squares[2], mean[2], scale[2];
    Letter letters[2];
    __half2 poison[2] = {};

    const auto release = [&](int of) {
      __syncwarp();
      if (lane == 0) arrive(&released[of]);
    };
    uint64_t* const own_residual_arrived = residual_arrived + warp * L::kBoxes;
    // By one lane.
    const auto fetch_residual = [&](int box, int row) {
      arrive_expecting(&own_residual_arrived[box], kBoxBytes);
      copy_box(boxes + box * kBoxBytes, &residual_map, column + box * kBoxColumns, row + warp * kWarpRows,
               &own_residual_arrived[box]);
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
    // Sixteen columns of a box, swizzled as the copy engine has it.
    const auto place = [&](int box, int i) {
      const int row = lane % 8 + lane / 8 % 2 * 8, within = i * 2 + lane / 16;
      return boxes + box * kBoxBytes + row * 128 + (within ^ row % 8) * 16;
    };
    const auto with_residual = [&](int box, int i, float2(&s)[4]) {
      uint32_t residual[4];
      load_matrices(place(box, i), residual);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float2 own = floats(pair_in<T>(held[box * 16 + i * 4 + k])), other = floats(pair_in<T>(residual[k]));
        s[k] = {own.x + other.x, own.y + other.y};
      }
    };
    // Differences to a number of the row, so that squares keep their digits.
    const auto measure = [&](int box) {
      wait(&own_residual_arrived[box], finished % 2);
      if (box == 0) {
#pragma unroll
        for (int half = 0; half < 2; ++half) shifted[half] = squares[half] = 0;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float2 s[4];
        with_residual(box, i, s);
        if (box == 0 && i == 0) {
          shift[0] = s[0].x;
          shift[1] = s[1].x;
        }
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          const float low = s[k].x - shift[k % 2], high = s[k].y - shift[k % 2];
          shifted[k % 2] += low + high;
          squares[k % 2] = fmaf(low, low, fmaf(high, high, squares[k % 2]));
        }
      }
    };
    // Lane i % 4 exchanges letters with block i of the group.
    const int other = lane % 4;
    const bool exchanges = other < kBlocks && other != block;
    Mailbox* const mailboxes = static_cast<Mailbox*>(p.mailboxes);
    const uint32_t number_before = take_numbers(mailboxes, (tiles + step - 1) / step);
    const auto mailbox = [&](int reader, int writer, int half) {
      return mailboxes + 1 + (((first * 2 + finished % 2) * kBlocks + reader) * kBlocks + writer) * kRows + own_row + half * 8;
    };
    const auto send = [&] {
      constexpr float kOwn = kColumns / 4;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float difference = shifted[half] * (1.0f / kOwn);
        letters[half].moments =
            over_four_lanes({shift[half] + difference, fmaf(-difference, shifted[half], squares[half])}, kOwn);
        letters[half].number = number_before + finished + 1;
        if (exchanges) post(mailbox(other, block, half), letters[half]);
      }
    };
    const auto look_for = [&](int half) { return look(mailbox(block, other, half)); };
    const auto receive = [&] {
      const uint32_t number = number_before + finished + 1;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        while (letters[half].number != number) letters[half] = look_for(half);
      }
      __syncwarp();
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        Moments own[kBlocks];
        float total = 0, differences = 0;
#pragma unroll
        for (int from = 0; from < kBlocks; ++from) {
          const int there = lane & ~3 | from;
          own[from] = {__shfl_sync(0xffffffffu, letters[half].moments.mean, there),
                       __shfl_sync(0xffffffffu, letters[half].moments.squares, there)};
          total += own[from].mean;
        }
        mean[half] = total * (1.0f / kBlocks);
#pragma unroll
        for (int from = 0; from < kBlocks; ++from) {
          const float difference = own[from].mean - mean[half];
          differences += fmaf(difference * difference, static_cast<float>(kColumns), own[from].squares);
        }
        scale[half] = 1.0f / sqrtf(differences * (1.0f / (kColumns * kBlocks)) + p.epsilon);
      }
    };
    // `next_row`: of the tile whose residual takes the box, -1: none.
    const auto normalize = [&](int box, int next_row) {
#pragma unroll
      for (int two = 0; two < 2; ++two) {
        uint32_t codes[2][4];  // of a row and that + 8, by runs of eight columns
#pragma unroll
        for (int i = two * 2; i < two * 2 + 2; ++i) {
          float2 s[4];
          uint32_t y[4];
          with_residual(box, i, s);
#pragma unroll
          for (int k = 0; k < 4; ++k) {
            const float* const own = lists + box * kBoxColumns + i * 16 + k / 2 * 8 + lane % 4 * 2;
            const float2 gamma = *reinterpret_cast<const float2*>(own + kGammas * kColumns),
                         beta = *reinterpret_cast<const float2*>(own + kBetas * kColumns);
            s[k] = {fmaf((s[k].x - mean[k % 2]) * scale[k % 2], gamma.x, beta.x),
                    fmaf((s[k].y - mean[k % 2]) * scale[k % 2], gamma.y, beta.y)};
            y[k] = pair<T>(s[k].x, s[k].y);
            if constexpr (kOverflows) poison[k % 2] = __hfma2(pair_in<T>(y[k]), __half2{}, poison[k % 2]);
            if constexpr (kGives != EightBits::none) {
              float2 inverse{p.quantized.inverse, p.quantized.inverse}, offset{};
              if constexpr (kGives == EightBits::by_columns) {
                inverse = *reinterpret_cast<const float2*>(own + kInverses * kColumns);
                offset = *reinterpret_cast<const float2*>(own + kOffsets * kColumns);
              }
              const float low = fmaf(s[k].x, inverse.x, offset.x), high = fmaf(s[k].y, inverse.y, offset.y);
              codes[k % 2][i % 2 * 2 + k / 2] = std::is_same_v<X, int8_t> ? pair_of_int8(low, high) : pair_of_e4m3(low, high);
            }
          }
          store_matrices(place(box, i), y);
        }
        if constexpr (kGives != EightBits::none) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const uint2 run = transposed(codes[half], lane);
            const int64_t row = held_row + own_row + half * 8;
            if (row < rows)
              *reinterpret_cast<uint2*>(p.quantized.values + row * p.columns + column + box * kBoxColumns + two * 32 +
                                        lane % 4 * 8) = run;
          }
        }
      }
      fence_shared();
      __syncwarp();
      if (lane == 0) {
        store_box(&y_map, column + box * kBoxColumns, held_row + warp * kWarpRows, boxes + box * kBoxBytes);
        commit_stores();
        if (box > 0 && next_row >= 0) {
          wait_stores<1>();
          fetch_residual(box - 1, next_row);
        }
      }
      if (kOverflows && box == L::kBoxes - 1) {
        const int64_t row = held_row + own_row;
        if (p.overflow && ((is_poisoned(poison[0]) && row < rows) || (is_poisoned(poison[1]) && row + 8 < rows)))
          atomicMin(p.overflow, p.step);
        poison[0] = poison[1] = {};
      }
    };
    // What is done of the tile before in a turn.
    const auto finish = [&](int turn, int next_row) {
      if (turn <= L::kSend) {
#pragma unroll
        for (int box = L::first_measured(turn); box < L::first_measured(turn + 1); ++box) measure(box);
      }
      if (turn == L::kSend) send();
      if (turn == L::kLook) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          if (exchanges) letters[half] = look_for(half);
        }
      }
      if (turn == L::kNormalize) receive();
      if (turn >= L::kNormalize) {
#pragma unroll
        for (int box = L::first_normalized(turn); box < L::first_normalized(turn + 1); ++box) normalize(box, next_row);
      }
    };

    if (lane == 0 && first < tiles) {
#pragma unroll
      for (int box = 0; box < L::kBoxes; ++box) fetch_residual(box, row_of(first));
    }
    for (int tile = first; tile < tiles; tile += step) {
      int before = 0;
      const int row = row_of(tile);
      float x_scales[2] = {};
      if constexpr (L::kScaled) {
#pragma unroll
        for (int i = 0; i < 2; ++i) x_scales[i] = p.x_scale[p.one_scale ? 0 : min(int64_t{row + own_row + i * 8}, rows - 1)];
      }
#pragma unroll
      for (int turn = 0; turn < L::kTurns; ++turn) {
        multiply(turn > 0);
        if (turn > 0) {
          wait_products<1>();
          release(before);
        }
        if (holds) finish(turn, row);
        before = stage;
        if (++stage == L::kStages) {
          stage = 0;
          parity ^= 1;
        }
      }
      for (int piece = L::kTurns; piece < pieces; ++piece) {
        multiply(true);
        wait_products<1>();
        release(before);
        before = stage;
        if (++stage == L::kStages) {
          stage = 0;
          parity ^= 1;
        }
      }
      if (holds) {
        if (lane == 0) {
          wait_stores<0>();
          fetch_residual(L::kBoxes - 1, row);
        }
        ++finished;
      }
      wait_products<0>();
      hold(sums);
      release(before);
      held_row = row;
      holds = true;
      wait(lists_arrived, 0);
      const float* const own = lists + lane % 4 * 2;
      round_sums<T, L::kScaled>(sums, own + kBiases * kColumns, own + kScales * kColumns, x_scales, p.one_scale != 0, held);
    }
    if (holds) {
#pragma unroll
      for (int turn = 0; turn < L::kTurns; ++turn) finish(turn, -1);
    }
    if (lane == 0) wait_stores<0>();
  }
#endif
}

int64_t tiles_of(int64_t rows) { return (rows + kRows - 1) / kRows; }
int64_t turns(int64_t rows, int blocks, int multiprocessors) {
  const int64_t groups = std::max(1, multiprocessors / blocks);
  return (tiles_of(rows) + groups - 1) / groups;
}
// What a piece of a tile moves through shared memory, which is what products wait for.
int64_t cost(int64_t columns) { return 256 + 3 * columns; }

template <typename X, typename T, int kColumns, int kBlocks, EightBits kGives, bool kRelaxed>
cudaError_t launch_kernel(const LinearLayerNormParams& p, int multiprocessors, cudaStream_t stream) {
  using L = Layout<X, kColumns, kBlocks, kGives, kRelaxed>;
  static_assert(L::kBytes <= 227 * 1024);
  const auto kernel = linear_layer_norm<X, T, kColumns, kBlocks, kGives, kRelaxed>;
  cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, L::kBytes);
  TensorMap x{}, weight{}, residual{}, y{};
  const auto map_operand = [&](const void* matrix, int64_t rows, int box_rows, TensorMap& to) {
    if (error != cudaSuccess) return;
    error = L::kScaled ? map_bytes(matrix, rows, p.depth, box_rows, L::kDepth, to)
                       : map_matrix(matrix, p.element, rows, p.depth, p.depth, box_rows, L::kDepth, to);
  };
  const auto map_rows = [&](const void* matrix, TensorMap& to) {
    if (error == cudaSuccess) error = map_matrix(matrix, p.element, p.rows, p.columns, p.columns, kWarpRows, kBoxColumns, to);
  };
  map_operand(p.x, p.rows, kRows, x);
  map_operand(p.weight, p.columns, kColumns, weight);
  map_rows(p.residual, residual);
  map_rows(p.y, y);
  if (error != cudaSuccess) return error;
  const int64_t groups = std::min<int64_t>(tiles_of(p.rows), multiprocessors / kBlocks);
  if (groups == 0) return cudaErrorNotSupported;
  return launch_dependent(kernel, static_cast<unsigned>(groups * kBlocks), kThreads, L::kBytes, stream, p, x, weight, residual,
                          y);
}

template <typename X, typename T, int kColumns, int kBlocks, EightBits kGives>
cudaError_t launch(const LinearLayerNormParams& p, int multiprocessors, cudaStream_t stream) {
  using L = Layout<X, kColumns, kBlocks, kGives, true>;
  return p.depth > (L::kTurns - 1) * L::kDepth
             ? launch_kernel<X, T, kColumns, kBlocks, kGives, true>(p, multiprocessors, stream)
             : launch_kernel<X, T, kColumns, kBlocks, kGives, false>(p, multiprocessors, stream);
}

}  // namespace

cudaError_t launch_linear_layer_norm(const LinearLayerNormParams& p, cudaStream_t stream) {
  const bool scaled = p.operands != LinearOperands::elements, quantizes = p.quantized.values != nullptr;
  if (p.element == Element::f32 || (scaled && p.element != Element::f16) || (quantizes && !scaled) ||
      (quantizes && (p.quantized.scales || (p.quantized.e4m3 != 0) != (p.operands == LinearOperands::fp8))) || !p.mailboxes ||
      !linear_layer_norm_takes(p.columns, p.depth * (scaled ? 1 : 2)))
    return cudaErrorInvalidValue;
  if (p.rows == 0) return cudaSuccess;
  int multiprocessors = 0;
  if (const cudaError_t error = count_multiprocessors(multiprocessors); error != cudaSuccess) return error;
  const auto with_columns = [&](auto x, auto rounded, auto gives) {
    using X = decltype(x);
    using T = decltype(rounded);
    constexpr EightBits kGives = gives.value;
    if (p.columns == 1024) return launch<X, T, 256, 4, kGives>(p, multiprocessors, stream);
    return turns(p.rows, 3, multiprocessors) * cost(256) < turns(p.rows, 4, multiprocessors) * cost(192)
               ? launch<X, T, 256, 3, kGives>(p, multiprocessors, stream)
               : launch<X, T, 192, 4, kGives>(p, multiprocessors, stream);
  };
  using None = std::integral_constant<EightBits, EightBits::none>;
  const auto with_quantized = [&](auto x) {
    if (!quantizes) return with_columns(x, __half{}, None{});
    if constexpr (std::is_same_v<decltype(x), __nv_fp8_e4m3>) {
      if (p.quantized.inverse != 0) return with_columns(x, __half{}, std::integral_constant<EightBits, EightBits::by_one>{});
    }
    return with_columns(x, __half{}, std::integral_constant<EightBits, EightBits::by_columns>{});
  };
  if (p.operands == LinearOperands::fp8) return with_quantized(__nv_fp8_e4m3{});
  if (p.operands == LinearOperands::int8) return with_quantized(int8_t{});
  return p.element == Element::f16 ? with_columns(__half{}, __half{}, None{})
                                   : with_columns(__nv_bfloat16{}, __nv_bfloat16{}, None{});
}

}  // namespace bertie::cuda
