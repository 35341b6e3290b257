#include "engine/buckets.h"

#include <algorithm>
#include <bit>

namespace bertie {

int64_t row_bucket(int64_t count) {
  constexpr uint64_t kPercent = 6;
  uint64_t edge = 1;
  while (edge < static_cast<uint64_t>(std::max<int64_t>(count, 1))) {
    // The roundest above `edge`: what is below the highest bit in which the two differ is left out.
    const uint64_t most = (edge + 1) * (100 + kPercent) / 100;
    edge = most & ~(std::bit_floor(edge ^ most) - 1);
  }
  return static_cast<int64_t>(edge);
}

int64_t entry_bucket(int64_t count, int64_t least) {
  int64_t edge = std::max<int64_t>(least, 1);
  while (edge < count) edge = std::max(edge + 1, edge + edge / 4);
  return edge;
}

}  // namespace bertie
