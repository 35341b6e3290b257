#include "engine/buckets.h"

#include <algorithm>

namespace bertie {

int64_t row_bucket(int64_t count) {
  constexpr int64_t kPercent = 6;
  int64_t edge = 1;
  while (edge < count) {
    const int64_t most = (edge + 1) * (100 + kPercent) / 100;
    int64_t unit = 1;
    while (most - most % (2 * unit) > edge) unit *= 2;
    edge = most - most % unit;
  }
  return edge;
}

int64_t entry_bucket(int64_t count, int64_t least) {
  int64_t edge = std::max<int64_t>(least, 1);
  while (edge < count) edge = std::max(edge + 1, edge + edge / 4);
  return edge;
}

}  // namespace bertie
