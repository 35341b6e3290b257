#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "base/cpu_affinity.h"

namespace bertie {
namespace {

TEST(ThreadPool, EachTaskRunsOnceForAnyCount) {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t tasks : {-1, 0, 1, 2, 3, 7, 100, 1001}) {
      std::vector<std::atomic<int>> hits(static_cast<size_t>(std::max<int64_t>(tasks, 0)));
      std::atomic<int> bad_worker = 0;
      pool.parallel_for(tasks, [&](int64_t task, int worker) {
        hits[static_cast<size_t>(task)].fetch_add(1);
        if (worker < 0 || worker >= threads) ++bad_worker;
      });
      for (auto& hit : hits) EXPECT_EQ(hit.load(), 1) << tasks << " tasks on " << threads;
      EXPECT_EQ(bad_worker.load(), 0);
    }
  }
}

// Plain (not atomic) data written by one loop is read by the next: TSAN checks the hand-over, the sum the result.
TEST(ThreadPool, LoopsFollowEachOther) {
  ThreadPool pool(3);
  std::vector<int64_t> values(64, 0);
  for (int round = 0; round < 20000; ++round) {
    const int64_t tasks = 1 + round % 64;
    pool.parallel_for(tasks, [&](int64_t task, int) { values[static_cast<size_t>((task + round) % 64)] += task + 1; });
  }
  int64_t sum = 0, expected = 0;
  for (int64_t value : values) sum += value;
  for (int round = 0; round < 20000; ++round) {
    const int64_t tasks = 1 + round % 64;
    expected += tasks * (tasks + 1) / 2;
  }
  EXPECT_EQ(sum, expected);
}

TEST(ThreadPool, OneWorkerOwnsItsScratch) {
  ThreadPool pool(3);
  std::vector<int64_t> per_worker(3 * 16, 0);  // no two workers share a slot, so plain additions must not be lost
  for (int round = 0; round < 1000; ++round)
    pool.parallel_for(17, [&](int64_t, int worker) { ++per_worker[static_cast<size_t>(worker) * 16]; });
  EXPECT_EQ(per_worker[0] + per_worker[16] + per_worker[32], 17000);
}

TEST(ThreadPool, WakesAfterSleeping) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> ran = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // well past the spin
    pool.parallel_for(5, [&](int64_t, int) { ++ran; });
    EXPECT_EQ(ran.load(), 5);
  }
}

// Both tasks wait for each other: only a second thread that truly runs lets the loop end.
TEST(ThreadPool, TasksRunAtTheSameTime) {
  ThreadPool pool(2);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> arrived = 0;
    pool.parallel_for(2, [&](int64_t, int) {
      ++arrived;
      while (arrived.load() < 2) std::this_thread::yield();
    });
    EXPECT_EQ(arrived.load(), 2);
  }
}

TEST(ThreadPool, CallersTakeTurns) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<int64_t> total = 0;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&] {
      for (int round = 0; round < 500; ++round) pool.parallel_for(9, [&](int64_t task, int) { total += task; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total.load(), 4 * 500 * 36);
}

TEST(ThreadPool, WorkersStayOnTheirCpus) {
  const std::vector<int> allowed = allowed_cpus();
  ASSERT_FALSE(allowed.empty());
  for (size_t count : {size_t{1}, allowed.size()}) {
    const std::vector<int> cpus(allowed.rbegin(), allowed.rbegin() + static_cast<std::ptrdiff_t>(count));
    constexpr int kThreads = 4;
    ThreadPool pool(kThreads, cpus);
    std::vector<std::vector<int>> seen(kThreads);
    std::atomic<int> arrived = 0;
    pool.parallel_for(kThreads, [&](int64_t, int worker) {
      seen[static_cast<size_t>(worker)] = allowed_cpus();
      ++arrived;
      while (arrived.load() < kThreads) std::this_thread::yield();  // so that each task is another worker's
    });
    EXPECT_EQ(seen[0], allowed) << "the calling thread is not the pool's";
    for (size_t worker = 1; worker < kThreads; ++worker) EXPECT_EQ(seen[worker], std::vector<int>{cpus[worker % count]});
  }
}

// What the system refuses leaves the pool working.
TEST(ThreadPool, CpusThatAreNotThere) {
  const std::vector<int> cpus = {8000};
  ThreadPool pool(3, cpus);
  std::atomic<int> ran = 0;
  pool.parallel_for(10, [&](int64_t, int) { ++ran; });
  EXPECT_EQ(ran.load(), 10);
}

}  // namespace
}  // namespace bertie
