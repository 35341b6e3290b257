// Counts the allocations of this test program.
#pragma once

#include <cstdint>

namespace bertie {

// How often operator new has run, on any thread.
int64_t allocation_count();

}  // namespace bertie
