#include "cpu/peak.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

namespace bertie::cpu {
namespace {

using Clock = std::chrono::steady_clock;

// The best of `repeats`, in work a second: what interrupts it only ever makes it slower.
template <typename Run>
double best_rate(int repeats, Run run) {
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const auto start = Clock::now();
    const double work = run();
    best = std::max(best, work / std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

// run(rounds) returns the operations it did.
template <typename Run>
double best_operations(ThreadPool& pool, Run run) {
  constexpr int64_t kRounds = 2000, kTasksPerThread = 16;  // a task is about 10 us: the last to finish costs little
  return best_rate(8, [&] {
    std::atomic<int64_t> operations = 0;
    pool.parallel_for(kTasksPerThread * pool.threads(), [&](int64_t, int) { operations += run(kRounds); });
    return static_cast<double>(operations.load());
  });
}

}  // namespace

double measure_flops(const Isa& isa, ThreadPool& pool) {
  return best_operations(pool, [&](int64_t rounds) {
    float sink;
    return isa.kernels->f32_peak(rounds, &sink);
  });
}

double measure_bf16_flops(const Isa& isa, ThreadPool& pool) {
  return best_operations(pool, [&](int64_t rounds) { return isa.kernels->bf16_peak(rounds); });
}

double measure_int8_ops(const Isa& isa, ThreadPool& pool) {
  return best_operations(pool, [&](int64_t rounds) { return isa.kernels->int8_peak(rounds); });
}

double measure_read_bandwidth(const Isa& isa, ThreadPool& pool) {
  const int64_t cache = std::max<int64_t>(0, sysconf(_SC_LEVEL3_CACHE_SIZE));
  const int64_t bytes = std::clamp<int64_t>(2 * cache, 64 << 20, 512 << 20);
  const std::vector<float> memory(static_cast<size_t>(bytes) / sizeof(float), 1.0f);
  constexpr int64_t kChunk = 64 << 10;  // floats
  return best_rate(3, [&] {
    pool.parallel_for(static_cast<int64_t>(memory.size()) / kChunk, [&](int64_t task, int) {
      float sink;
      isa.kernels->read_peak(memory.data() + task * kChunk, kChunk, &sink);
    });
    return static_cast<double>(bytes);
  });
}

}  // namespace bertie::cpu
