// What attention's input `bias` adds to scores: its shapes, and its numbers as every backend has them.
#pragma once

#include "bertie/network.h"

namespace bertie {

// Whether a bias of this shape is for scores [batch, heads, sequence, sequence].
inline bool is_attention_bias(const SymbolicShape& bias, const Dim& batch, int64_t heads, const Dim& sequence) {
  const auto fits = [&](size_t axis, const Dim& extent) { return bias[axis] == Dim(1) || bias[axis] == extent; };
  return bias.size() == 4 && fits(0, batch) && fits(1, Dim(heads)) && fits(2, sequence) && bias[3] == sequence;
}

// What is below counts as this: nothing is left of a score beside it in float32, and keys that have it weigh alike.
inline constexpr float kLeastAttentionBias = -1e29f;

// Elements between neighbours of attention's bias [batch or 1, H or 1, sequence or 1, sequence]; 0 along an axis that all share.
struct AttentionBiasStrides {
  explicit AttentionBiasStrides(const Shape& bias)
      : sequence(bias[0] == 1 ? 0 : bias[1] * bias[2] * bias[3]),
        head(bias[1] == 1 ? 0 : bias[2] * bias[3]),
        query(bias[2] == 1 ? 0 : bias[3]) {}
  int64_t sequence, head, query;
};

}  // namespace bertie
