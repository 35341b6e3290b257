#include "cpu/kernels/normalize.h"

#include "cpu/kernels/float_type.h"
#include "cpu/kernels/sum_vectors.h"

namespace bertie::cpu::BERTIE_ISA {

void normalize(const NormalizeRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = rows.x + row * rows.extent;
    float* out = rows.out + row * rows.extent;
    const float squares = sum_vectors(
        rows.extent, [x](int64_t i, int64_t count, Vec16 total) __attribute__((always_inline)) {
          const Vec16 value = load_up_to_16(x + i, count);
          return fma(value, value, total);
        });
    const Vec16 norm = max(broadcast(rows.epsilon), sqrt(broadcast(squares)));
    for (int64_t i = 0; i < rows.extent; i += 16) {
      const int64_t count = rows.extent - i;
      store_up_to_16(out + i, load_up_to_16(x + i, count) / norm, count);
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
