// The batch that kernels are timed on, one beside the other.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

// So many tokens in sequences of at most 128, and the head's rows of an eighth of them.
struct TimedBatch {
  explicit TimedBatch(int64_t tokens);
  TimedBatch(const TimedBatch&) = delete;

  BatchLimits limits() const { return {packed.tokens, packed.sequences, packed.longest, packed.rows}; }
  // nullopt where an extent is neither fixed nor the batch's.
  std::optional<Shape> shape_of(const SymbolicShape& symbolic) const;

  std::vector<int32_t> starts;
  PackedBatch packed;  // its cumulative_lengths are `starts`
};

// Values between -1 and 1, the same from the same seed.
void fill_random(std::span<float> values, uint32_t seed);

}  // namespace bertie
