// One row made of a sequence's.
#pragma once

#include <cstdint>

namespace bertie::cpu {

enum class PoolMode : uint8_t { mean, cls, max, mean_sqrt_length };

// Rows [0, length) of x, `extent` wide. Each column is summed row by row, in order. A sequence of no rows pools to zeros.
struct PoolSequence {
  const float* x;
  int64_t length;
  int64_t extent;
  PoolMode mode;
  float* out;  // [extent]
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
// Columns [begin, end) of the result.
void pool(const PoolSequence& sequence, int64_t begin, int64_t end);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
