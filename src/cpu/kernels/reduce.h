// Sums of rows, in the order of sum_vectors.h, each divided by `divisor`.
#pragma once

#include <cstdint>

namespace bertie::cpu {

struct ReduceRows {
  const float* x;  // [rows, extent]
  int64_t extent;
  float divisor;
  float* out;  // [rows]
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
void reduce(const ReduceRows& rows, int64_t begin, int64_t end);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
