// Measured limits of this machine, for `bertie devices` and the share of peak that benchmarks print.
#pragma once

#include "base/thread_pool.h"
#include "cpu/isa.h"

namespace bertie::cpu {

// float32 operations a second (two a multiply-add) of all the pool's threads together. A few milliseconds.
double measure_flops(const Isa& isa, ThreadPool& pool);

// The same of bfloat16 with sums in float32. `isa` must have such products.
double measure_bf16_flops(const Isa& isa, ThreadPool& pool);

// Operations a second (two a multiply-add) on eight-bit integers with 32-bit sums, exact, of all the pool's threads together.
double measure_int8_ops(const Isa& isa, ThreadPool& pool);

// Bytes a second that all the pool's threads together read from memory beyond the caches. Some tens of milliseconds, and as
// much memory as twice the last cache (64 MiB to 512 MiB).
double measure_read_bandwidth(const Isa& isa, ThreadPool& pool);

}  // namespace bertie::cpu
