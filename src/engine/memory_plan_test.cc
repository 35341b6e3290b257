#include "engine/memory_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace bertie {
namespace {

bool overlap(size_t a, size_t a_end, size_t b, size_t b_end) { return a < b_end && b < a_end; }

TEST(MemoryPlanTest, NothingNeedsNothing) { EXPECT_EQ(plan_memory({}).bytes, 0u); }

TEST(MemoryPlanTest, DisjointLifetimesShareAPlace) {
  const MemoryPlan plan = plan_memory({{100, 0, 1}, {100, 2, 3}});
  EXPECT_EQ(plan.offsets[0], plan.offsets[1]);
  EXPECT_EQ(plan.bytes, 128u);
}

TEST(MemoryPlanTest, LivingNeighboursNeverOverlap) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Lifetime> lifetimes(1 + random() % 40);
    size_t total = 0;
    for (Lifetime& lifetime : lifetimes) {
      lifetime.bytes = random() % 5000;
      lifetime.first_step = random() % 30;
      lifetime.last_step = lifetime.first_step + random() % 6;
      total += lifetime.bytes + kArenaAlignment;
    }
    const MemoryPlan plan = plan_memory(lifetimes);
    EXPECT_LE(plan.bytes, total);
    for (size_t a = 0; a < lifetimes.size(); ++a) {
      EXPECT_EQ(plan.offsets[a] % kArenaAlignment, 0u);
      EXPECT_LE(plan.offsets[a] + lifetimes[a].bytes, plan.bytes);
      for (size_t b = 0; b < a; ++b) {
        const bool together =
            lifetimes[a].first_step <= lifetimes[b].last_step && lifetimes[b].first_step <= lifetimes[a].last_step;
        if (!together) continue;
        EXPECT_FALSE(overlap(plan.offsets[a], plan.offsets[a] + lifetimes[a].bytes, plan.offsets[b],
                             plan.offsets[b] + lifetimes[b].bytes));
      }
    }
  }
}

}  // namespace
}  // namespace bertie
