// What attention's input `bias` adds to scores, as every backend has it.
#pragma once

#include "bertie/tensor.h"

namespace bertie {

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
