#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cpu_affinity.h"
#include "base/error.h"
#include "base/log.h"

namespace bertie {
namespace {

using Clock = std::chrono::steady_clock;

// How long an idle thread stays hot: longer than the serial parts between two loops of one forward pass, short enough not to
// take the CPU from other programs.
constexpr auto kSpin = std::chrono::microseconds(50);
constexpr size_t kCacheLine = 64;

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `ready()` or kSpin has passed; returns the last answer.
template <typename Ready>
bool spin_until(Ready ready) {
  const auto deadline = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause_cpu();
    }
  } while (Clock::now() < deadline);
  return ready();
}

}  // namespace

// One loop at a time. `remaining` is the tasks not yet taken: whoever lowers it from r to r-1 owns task `tasks - r`. The loop
// cannot end before an owned task is done, so its owner may read the fields above; a thread that comes late finds 0 and
// touches nothing, hence the caller never waits for a sleeper to wake.
struct ThreadPool::Impl {
  Function function = nullptr;
  void* context = nullptr;
  int64_t tasks = 0;
  alignas(kCacheLine) std::atomic<int64_t> remaining{0};
  alignas(kCacheLine) std::atomic<int64_t> unfinished{0};
  alignas(kCacheLine) std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};
  std::mutex sleep_mutex;
  std::condition_variable wake;
  std::mutex callers;
  std::vector<std::thread> workers;

  void work(int worker) {
    int64_t done = 0;  // reported together: fewer writes to a shared line
    int64_t left = remaining.load(std::memory_order_acquire);
    while (left > 0) {
      if (!remaining.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
      function(context, tasks - left, worker);
      ++done;
      left = remaining.load(std::memory_order_acquire);
    }
    if (done > 0) unfinished.fetch_sub(done, std::memory_order_acq_rel);
  }

  bool has_news() const { return remaining.load(std::memory_order_acquire) > 0 || stopping.load(std::memory_order_acquire); }

  void worker_loop(int worker) {
    while (true) {
      if (!spin_until([this] { return has_news(); })) {
        std::unique_lock lock(sleep_mutex);
        // Sequentially consistent with run()'s store of `remaining` and load of `sleepers`: one of the two sees the other.
        sleepers.fetch_add(1);
        wake.wait(lock, [this] { return remaining.load() > 0 || stopping.load(); });
        sleepers.fetch_sub(1);
      }
      if (stopping.load(std::memory_order_acquire)) return;
      work(worker);
    }
  }

  void stop() {
    {
      std::lock_guard lock(sleep_mutex);
      stopping.store(true);
    }
    wake.notify_all();
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }
};

ThreadPool::ThreadPool(int threads, std::span<const int> cpus)
    : threads_(threads >= 1 ? threads : usable_cpus()), impl_(std::make_unique<Impl>()) {
  bool pinned = true;
  try {
    for (int worker = 1; worker < threads_; ++worker) {
      impl_->workers.emplace_back([impl = impl_.get(), worker] { impl->worker_loop(worker); });
      if (cpus.empty()) continue;
      pinned &= pin_thread(impl_->workers.back().native_handle(), cpus[static_cast<size_t>(worker) % cpus.size()]);
    }
  } catch (const std::system_error& error) {
    const size_t started = impl_->workers.size() + 1;
    impl_->stop();
    fail(ErrorCode::limit_exceeded, "{} threads: the system allows no more than {} ({})", threads_, started, error.what());
  }
  if (!pinned) log(LogLevel::warning, "the system does not let threads be pinned to CPUs: they run where it puts them");
}

ThreadPool::~ThreadPool() { impl_->stop(); }

void ThreadPool::run(int64_t tasks, Function function, void* context) {
  if (tasks <= 0) return;
  if (tasks == 1 || threads_ == 1) {
    for (int64_t task = 0; task < tasks; ++task) function(context, task, 0);
    return;
  }
  Impl& impl = *impl_;
  std::lock_guard turn(impl.callers);
  impl.function = function;
  impl.context = context;
  impl.tasks = tasks;
  impl.unfinished.store(tasks, std::memory_order_relaxed);  // ordered by the store below
  impl.remaining.store(tasks);
  if (impl.sleepers.load() > 0) {
    { std::lock_guard lock(impl.sleep_mutex); }  // a worker between its check and its wait has to get into the wait first
    if (tasks > threads_ - 1) {
      impl.wake.notify_all();
    } else {
      for (int64_t helper = 1; helper < tasks; ++helper) impl.wake.notify_one();
    }
  }
  impl.work(0);
  const auto finished = [&impl] { return impl.unfinished.load(std::memory_order_acquire) == 0; };
  if (spin_until(finished)) return;
  while (!finished()) std::this_thread::yield();  // another program may hold the CPU that the last task needs
}

}  // namespace bertie
