#include "cpu/kernels/softmax.h"

#include "cpu/kernels/float_type.h"
#include "cpu/kernels/math.h"
#include "cpu/kernels/sum_vectors.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

float largest_of(const float* x, int64_t extent) {
  Vec16 lanes = broadcast(-__builtin_inff());
  int64_t i = 0;
  for (; i + 16 <= extent; i += 16) lanes = max(load(x + i), lanes);
  float largest = reduce_max(lanes);
  for (; i < extent; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

}  // namespace

void softmax(const SoftmaxRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* x = rows.x + row * rows.extent;
    float* out = rows.out + row * rows.extent;
    const Vec16 largest = broadcast(largest_of(x, rows.extent));
    const float sum = sum_vectors(
        rows.extent, [ x, out, largest ](int64_t i, int64_t count, Vec16 total) __attribute__((always_inline)) {
          store_up_to_16(out + i, exp(load_up_to_16(x + i, count) - largest), count);
          return total + load_up_to_16(out + i, count);  // zeros beyond the row
        });
    for (int64_t i = 0; i < rows.extent; i += 16) {
      const int64_t count = rows.extent - i;
      store_up_to_16(out + i, load_up_to_16(out + i, count) / broadcast(sum), count);
    }
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
