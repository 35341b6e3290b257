// x / max(||x||, epsilon) of rows; the squares are summed in the order of sum_vectors.h.
#pragma once

#include <cstdint>

namespace bertie::cpu {

struct NormalizeRows {
  const float* x;  // [rows, extent]
  int64_t extent;
  float epsilon;
  float* out;  // [rows, extent]
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
void normalize(const NormalizeRows& rows, int64_t begin, int64_t end);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
