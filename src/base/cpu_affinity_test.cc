#include "base/cpu_affinity.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "base/thread_pool.h"

namespace bertie {
namespace {

TEST(CpuAffinity, FollowsTheMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const std::vector<int> allowed = allowed_cpus();
  ASSERT_EQ(allowed.size(), static_cast<size_t>(CPU_COUNT(&before)));
  for (int cpu : allowed) EXPECT_TRUE(CPU_ISSET(static_cast<size_t>(cpu), &before));
  EXPECT_GE(usable_cpus(), 1);
  EXPECT_LE(usable_cpus(), CPU_COUNT(&before));
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(allowed.back()), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(allowed_cpus(), std::vector<int>{allowed.back()});
  EXPECT_EQ(usable_cpus(), 1);
  EXPECT_EQ(ThreadPool(0).threads(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(CpuAffinity, ScopesNestAndRestore) {
  const std::vector<int> allowed = allowed_cpus();
  {
    const PinnedScope outer(allowed.front());
    EXPECT_EQ(allowed_cpus(), std::vector<int>{allowed.front()});
    EXPECT_EQ(sched_getcpu(), allowed.front());
    {
      const PinnedScope inner(allowed.back());
      EXPECT_EQ(allowed_cpus(), std::vector<int>{allowed.back()});
      EXPECT_EQ(sched_getcpu(), allowed.back());
    }
    EXPECT_EQ(allowed_cpus(), std::vector<int>{allowed.front()});
  }
  EXPECT_EQ(allowed_cpus(), allowed);
}

TEST(CpuAffinity, CpusThatAreNotThereLeaveTheThreadAlone) {
  const std::vector<int> allowed = allowed_cpus();
  for (int cpu : {-1, 8000, 1 << 20}) {
    const PinnedScope scope(cpu);
    EXPECT_EQ(allowed_cpus(), allowed) << cpu;
  }
}

}  // namespace
}  // namespace bertie
