#include "engine/timed_batch.h"

#include <algorithm>
#include <random>

#include "backend/batch_shape.h"

namespace bertie {

TimedBatch::TimedBatch(int64_t tokens) {
  constexpr int64_t kLongest = 128;
  packed.tokens = tokens;
  packed.longest = std::min(tokens, kLongest);
  packed.sequences = (tokens + kLongest - 1) / kLongest;
  packed.rows = tokens / 8 + 1;
  for (int64_t i = 0; i <= packed.sequences; ++i) starts.push_back(static_cast<int32_t>(std::min(tokens, i * kLongest)));
  packed.cumulative_lengths = starts.data();
}

std::optional<Shape> TimedBatch::shape_of(const SymbolicShape& symbolic) const {
  const bool known = symbolic.size() <= Shape::kMaxRank && std::all_of(symbolic.begin(), symbolic.end(), [](const Dim& dim) {
                       return dim.is_fixed() || extent_source(dim);
                     });
  return known ? std::optional(shape_in(packed, symbolic)) : std::nullopt;
}

void fill_random(std::span<float> values, uint32_t seed) {
  std::minstd_rand generator(seed);
  for (float& value : values) value = static_cast<float>(generator() % 2001) * 1e-3f - 1;
}

}  // namespace bertie
