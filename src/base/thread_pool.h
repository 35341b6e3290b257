// A fork-join pool: the caller and `threads - 1` workers share the tasks of one loop.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

namespace bertie {

class ThreadPool {
 public:
  // threads >= 1 counts the calling thread; 0 takes usable_cpus(). Worker i runs on cpus[i] alone, from the first again where they are too few;
  // the calling thread, as worker 0, is not pinned here (PinnedScope). No cpus: nothing is pinned.
  explicit ThreadPool(int threads, std::span<const int> cpus = {});
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int threads() const { return threads_; }

  // Calls body(task, worker) once for each task in [0, tasks), worker in [0, threads()), and returns when all are done.
  // Tasks are handed out in order, one at a time. Allocates nothing. The body must not throw, nor start a loop on this pool.
  // Callers on several threads take turns.
  template <typename Body>
  void parallel_for(int64_t tasks, Body&& body) {
    using Callable = std::remove_reference_t<Body>;
    run(
        tasks, [](void* context, int64_t task, int worker) { (*static_cast<Callable*>(context))(task, worker); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  using Function = void (*)(void* context, int64_t task, int worker);
  void run(int64_t tasks, Function function, void* context);

  struct Impl;
  int threads_ = 1;
  std::unique_ptr<Impl> impl_;
};

}  // namespace bertie
