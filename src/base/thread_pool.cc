#include "base/thread_pool.h"

namespace bertie {
struct ThreadPool::Impl {};
ThreadPool::ThreadPool(int threads) : threads_(threads < 1 ? 1 : threads) {}
ThreadPool::~ThreadPool() = default;
void ThreadPool::run(int64_t tasks, Function function, void* context) {
  for (int64_t task = 0; task < tasks; ++task) function(context, task, 0);
}
}  // namespace bertie
