// exp(x - largest) / sum of rows. The exponentials are summed in the order of sum_vectors.h; each is divided by the sum. A row of -inf alone,
// or with a NaN in it, is NaN.
#pragma once

#include <cstdint>

namespace bertie::cpu {

struct SoftmaxRows {
  const float* x;  // [rows, extent]
  int64_t extent;
  float* out;  // [rows, extent]
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
void softmax(const SoftmaxRows& rows, int64_t begin, int64_t end);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
