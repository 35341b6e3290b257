// Loops over many elements, in parts that are worth a task each.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/thread_pool.h"

namespace bertie {

// Calls body(begin, end) for parts of [0, count), `part` elements each but for the last, on all threads of the pool.
template <typename Body>
void parallel_parts(ThreadPool& pool, size_t count, size_t part, const Body& body) {
  pool.parallel_for(static_cast<int64_t>((count + part - 1) / part), [&](int64_t task, int) {
    const size_t begin = static_cast<size_t>(task) * part;
    body(begin, std::min(count, begin + part));
  });
}

}  // namespace bertie
