// The order in which the elements of a row are summed.
#pragma once

#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {

// Adds up a row of `extent` elements, sixteen at a time: term(i, count, sum) returns `sum` plus what the `count` elements from i on
// give. Of four sums, number s takes the vectors v = s (mod 4), v ascending; then (0 + 1) + (2 + 3), then reduce_add.
template <typename Term>
BERTIE_INLINE float sum_vectors(int64_t extent, Term term) {
  constexpr int64_t kSums = 4;
  Vec16 sums[kSums] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 16 * kSums <= extent; i += 16 * kSums) {
#pragma GCC unroll 4
    for (int64_t s = 0; s < kSums; ++s) sums[s] = term(i + 16 * s, 16, sums[s]);
  }
#pragma GCC unroll 4
  for (int64_t s = 0; s < kSums; ++s) {
    if (i + 16 * s < extent) sums[s] = term(i + 16 * s, min(16, extent - i - 16 * s), sums[s]);
  }
  return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace bertie::cpu::BERTIE_ISA
