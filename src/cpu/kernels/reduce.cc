#include "cpu/kernels/reduce.h"

#include "cpu/kernels/float_type.h"
#include "cpu/kernels/sum_vectors.h"

namespace bertie::cpu::BERTIE_ISA {

void reduce(const ReduceRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = rows.x + row * rows.extent;
    const float sum = sum_vectors(
        rows.extent, [x](int64_t i, int64_t count, Vec16 total)
                         __attribute__((always_inline)) { return total + load_up_to_16(x + i, count); });
    rows.out[row] = sum / rows.divisor;
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
