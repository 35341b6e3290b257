// Places for activations in one arena, by the steps over which each is alive.
#pragma once

#include <cstddef>
#include <vector>

namespace bertie {

struct Lifetime {
  size_t bytes = 0;
  size_t first_step = 0;  // written here
  size_t last_step = 0;   // read here for the last time, inclusive
};

struct MemoryPlan {
  std::vector<size_t> offsets;  // one a lifetime, multiples of the alignment
  size_t bytes = 0;
};

inline constexpr size_t kArenaAlignment = 64;

// Greedy by size: the largest first, each at the lowest offset where no living neighbour lies
// (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
MemoryPlan plan_memory(const std::vector<Lifetime>& lifetimes, size_t alignment = kArenaAlignment);

}  // namespace bertie
