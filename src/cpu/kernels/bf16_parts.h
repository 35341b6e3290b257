// Floats as sums of three bfloat16, for the products of gemm_amx.cc: rows of A a block of K at a time, weights as they are needed.
#pragma once

#include "cpu/kernels/amx_tiles.h"
#include "cpu/kernels/float_type.h"
#include "cpu/kernels/gemm.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {  // local: the linker must not share what is compiled with these instructions
// NOLINTBEGIN(misc-definitions-in-headers)

constexpr int64_t kParts = 3;
constexpr int64_t kStepK = 32;  // of one product of tiles
constexpr int64_t kPairs = kStepK / 2;
constexpr int64_t kTileElements = kTileRows * kStepK;
constexpr int64_t kStepElements = kParts * kTileElements;        // of a tile of rows, or of a panel: [part][row or pair][32]
constexpr int64_t kMaxSteps = kGemmBlockK / kStepK;              // of a block
constexpr int64_t kRowTileElements = kMaxSteps * kStepElements;  // [step]
constexpr int64_t kMaxGroup = 3;                                 // panels
constexpr int64_t kPackedStride = kGemmBlockK * kGemmPanel;
static_assert(kStepK * sizeof(uint16_t) == kTileRowBytes);

// Steps of weights are kept in a ring of slots: two where every step is used once, else those of two blocks.
constexpr int64_t kFewSlots = 2, kManySlots = 32, kManyPanels = 2;
constexpr int64_t kRingElements = kManySlots * kManyPanels * kStepElements;
static_assert(kManySlots >= 2 * kMaxSteps && kManyPanels * kManySlots >= kMaxGroup * kFewSlots);

// As many sums at a time as keep one from waiting for the product before: three, or two tiles of rows by two panels.
constexpr int64_t group_of(int64_t tiles) { return tiles == 1 ? kMaxGroup : kManyPanels; }

// Parts that a weight of this type can have.
constexpr int parts_of(FloatType type) { return type == FloatType::f32 ? 3 : type == FloatType::f16 ? 2 : 1; }
constexpr int products_of(FloatType type) { return type == FloatType::f32 ? 6 : type == FloatType::f16 ? 5 : 3; }

// The first part of a weight: its upper half, so that all parts have its sign.
BERTIE_INLINE IVec16 upper_half(Vec16 x) { return bits(x) & broadcast_int(static_cast<int32_t>(0xffff0000u)); }
// Of an element of A: rounded, ties away from zero, so that what is left out favours no sign.
BERTIE_INLINE IVec16 rounded_half(Vec16 x) {
  return (bits(x) + broadcast_int(0x8000)) & broadcast_int(static_cast<int32_t>(0xffff0000u));
}

// Two rows of a panel as a line of a tile: the first in the lower halves.
BERTIE_INLINE void store_pair(uint16_t* to, IVec16 first, IVec16 second) {
  store_int(reinterpret_cast<int32_t*>(to), shift_right<16>(first) | second);
}

// The upper halves of `low` and then `high`.
BERTIE_INLINE void store_halves(uint16_t* to, IVec16 low, IVec16 high) {
  alignas(64) static constexpr uint16_t kOdd[32] = {1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                    33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  _mm512_store_si512(to, _mm512_permutex2var_epi16(low.v, _mm512_load_si512(kOdd), high.v));
}

// `rows` rows of A in parts, as tiles of `height` rows; rows and columns that do not exist are zero.
void split_rows(const float* a, int64_t stride, int64_t rows, int64_t height, int64_t k, uint16_t* to) {
  const int64_t steps = (k + kStepK - 1) / kStepK;
  for (int64_t begin = 0; begin < rows; begin += height, to += kRowTileElements) {
    for (int64_t r = 0; r < height; ++r) {
      const bool present = begin + r < rows;
      const float* row = a + (begin + r) * stride;
      uint16_t* line = to + r * kStepK;
      for (int64_t step = 0; step < steps; ++step, line += kStepElements) {
        const int64_t at = step * kStepK, left = present ? k - at : 0;
        Vec16 low = zero(), high = zero();
        if (left >= kStepK) {
          low = load(row + at);
          high = load(row + at + 16);
        } else if (left > 0) {
          low = load_partial(row + at, min(left, 16));
          if (left > 16) high = load_partial(row + at + 16, left - 16);
        }
#pragma GCC unroll 3
        for (int64_t part = 0; part < kParts; ++part) {
          const bool exact = part + 1 == kParts;
          const IVec16 low_part = exact ? bits(low) : rounded_half(low), high_part = exact ? bits(high) : rounded_half(high);
          store_halves(line + part * kTileElements, low_part, high_part);
          low = low - from_bits(low_part);
          high = high - from_bits(high_part);
        }
      }
    }
  }
}

// A block of K.
struct Block {
  int64_t k_begin, k_end;
  bool first, last;
  int64_t steps() const { return (k_end - k_begin + kStepK - 1) / kStepK; }
};
BERTIE_INLINE Block block_at(int64_t k_begin, int64_t k) {
  const int64_t k_end = min(k, k_begin + kGemmBlockK);
  return {k_begin, k_end, k_begin == 0, k_end == k};
}

// Walks through the weights of a range as its products come to them, splitting: blocks of K, groups of panels, steps, panels, pairs.
template <FloatType type>
class WeightWalk {
 public:
  // `by_steps`: a step ahead of the products, else a group.
  WeightWalk(const GemmProblem& problem, const GemmRange& range, int64_t group, bool by_steps, uint16_t* ring)
      : panels_(static_cast<const char*>(problem.panels)),
        k_(problem.weight.k),
        begin_(range.panel_begin),
        end_(range.panel_end),
        group_(group),
        by_steps_(by_steps),
        ring_(ring) {
    if (panels_) start(block_at(0, k_), begin_);
  }

  // Makes it one of a group alone, packed at `packed`.
  void start_packed(const Block& block, int64_t panels, const float* packed) {
    start(block, begin_, reinterpret_cast<const char*>(packed), kPackedStride, panels);
  }

  // Pairs that are to be split while a group's products are taken in so many turns: of one of their steps.
  int64_t pairs_a_step(int64_t turns) const {
    const int64_t step = count_ * kPairs;
    return by_steps_ ? step : (step + turns - 1) / turns;
  }
  uint16_t* slot(int64_t step) const {
    return ring_ + (step & ((by_steps_ ? kFewSlots : kManySlots) - 1)) * group_ * kStepElements;
  }

  // Lets it go on into the next group, of which it stands in front.
  void open() { open_ = true; }
  void finish_group() { advance(kMaxGroup * kMaxSteps * kPairs); }

  // Splits the next `count` pairs, or what is left of the group where it goes by groups.
  __attribute__((always_inline)) void advance(int64_t count) {
    while (count > 0 && count_ > 0 && open_) {
      const int64_t depth = block_.k_end - block_.k_begin - step_ * kStepK;  // from this step on
      const int64_t end = min(kPairs, pair_ + count), whole = min(end, depth / 2);
      const int64_t first = panel_ * stride_ + (step_ * kStepK + 2 * pair_) * kLine;
      const char *from = from_ + first, *ahead = ahead_ + first;
      int64_t pair = pair_;
      uint16_t* to = slot(total_) + panel_ * kStepElements + pair * kStepK;
      count -= end - pair;
      for (; pair < whole; ++pair, from += 2 * kLine, ahead += 2 * kLine, to += kStepK) {
        prefetch_l2(ahead);
        if constexpr (type == FloatType::f32) prefetch_l2(ahead + kLine);
        split(to, read_floats<type>(from, 0, kGemmPanel), read_floats<type>(from, kGemmPanel, kGemmPanel));
      }
      for (; pair < end; ++pair, from += 2 * kLine, to += kStepK) {
        split(to, 2 * pair < depth ? read_floats<type>(from, 0, kGemmPanel) : zero(), zero());
      }
      pair_ = end;
      if (end == kPairs) next_panel();
    }
  }

 private:
  static constexpr int64_t kLine = kGemmPanel * (type == FloatType::f32 ? 4 : 2);  // bytes of a panel for one k

  BERTIE_INLINE void split(uint16_t* to, Vec16 first, Vec16 second) {
    for (int64_t part = 0; part < parts_of(type); ++part) {
      const IVec16 first_part = upper_half(first), second_part = upper_half(second);
      store_pair(to + part * kTileElements, part + 1 < kParts ? first_part : bits(first), second_part);
      first = first - from_bits(first_part);
      second = second - from_bits(second_part);
    }
  }

  void start(const Block& block, int64_t panel) {
    start(block, panel, panels_ + (panel * k_ + block.k_begin) * kLine, k_ * kGemmPanel, min(group_, end_ - panel));
    ahead_ = from_ + group_ * stride_;
    if (panel + group_ >= end_) ahead_ = panels_ + (begin_ * k_ + (block.last ? block.k_begin : block.k_end)) * kLine;
  }
  void start(const Block& block, int64_t panel, const char* from, int64_t stride, int64_t panels) {
    block_ = block;
    first_ = panel;
    from_ = ahead_ = from;
    stride_ = stride * (kLine / kGemmPanel);
    count_ = block.steps() > 0 ? panels : 0;
    step_ = panel_ = pair_ = 0;
    open_ = by_steps_;
  }
  void next_panel() {
    pair_ = 0;
    if (++panel_ < count_) return;
    panel_ = 0;
    ++total_;
    if (++step_ < block_.steps()) return;
    if (panels_ && first_ + group_ < end_) return start(block_, first_ + group_);
    if (panels_ && !block_.last) return start(block_at(block_.k_end, k_), begin_);
    count_ = 0;
  }

  const char* panels_;
  int64_t k_, begin_, end_, group_;
  bool by_steps_, open_ = false;
  uint16_t* ring_;
  Block block_ = {};
  int64_t first_ = 0, count_ = 0;  // panels of the group; none at the end
  const char *from_ = nullptr, *ahead_ = nullptr;
  int64_t stride_ = 0;  // bytes from panel to panel
  int64_t step_ = 0, panel_ = 0, pair_ = 0;
  int64_t total_ = 0;  // steps
};

// NOLINTEND(misc-definitions-in-headers)
}  // namespace
}  // namespace bertie::cpu::BERTIE_ISA
