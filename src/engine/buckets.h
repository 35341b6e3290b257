// Capacities that recorded work is made for: a batch runs in the work of the next larger ones.
#pragma once

#include <cstdint>

namespace bertie {

// Of rows that are computed whether there is a token for them or not: at least `count` and 1, at most 6% above `count`.
// The roundest numbers, multiples of the highest powers of two, that this leaves: tiles of kernels are full, and so are the batches of which
// kernels were timed.
int64_t row_bucket(int64_t count);

// Of entries of which the unused ones cost next to nothing: at most a quarter above `count`, at least `least`.
int64_t entry_bucket(int64_t count, int64_t least);

}  // namespace bertie
