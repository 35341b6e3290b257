// The k largest elements of rows, descending and of equal ones the first first, their places, and the logarithm of the sum of all exponentials
// (network/top_k_log_sum_exp.cc). The exponentials, of what each is less than the largest, are summed in the order of sum_vectors.h.
#pragma once

#include <cstdint>

namespace bertie::cpu {

struct TopKRows {
  const float* x;  // [rows, extent]
  int64_t extent, k;
  float* out;  // [rows, 2 k + 1]
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
void top_k_log_sum_exp(const TopKRows& rows, int64_t begin, int64_t end);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
