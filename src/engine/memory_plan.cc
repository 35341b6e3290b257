#include "engine/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace bertie {

MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes, size_t alignment) {
  const auto rounded = [alignment](size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; };
  std::vector<size_t> by_size(lifetimes.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::stable_sort(by_size.begin(), by_size.end(), [&](size_t a, size_t b) { return lifetimes[a].bytes > lifetimes[b].bytes; });

  MemoryPlan plan;
  plan.offsets.resize(lifetimes.size(), 0);
  std::vector<size_t> placed;  // by offset
  for (size_t index : by_size) {
    const Lifetime& own = lifetimes[index];
    const size_t bytes = rounded(own.bytes);
    size_t offset = 0;
    for (size_t other : placed) {
      const Lifetime& neighbour = lifetimes[other];
      if (neighbour.last_step < own.first_step || neighbour.first_step > own.last_step) continue;
      if (plan.offsets[other] >= offset + bytes) break;
      offset = std::max(offset, plan.offsets[other] + rounded(neighbour.bytes));
    }
    plan.offsets[index] = offset;
    plan.bytes = std::max(plan.bytes, offset + bytes);
    const auto place =
        std::upper_bound(placed.begin(), placed.end(), offset, [&](size_t at, size_t other) { return at < plan.offsets[other]; });
    placed.insert(place, index);
  }
  return plan;
}

}  // namespace bertie
