#include "cpu/kernels/elementwise.h"

#include "cpu/kernels/float_type.h"
#include "cpu/kernels/math.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

BERTIE_INLINE Vec16 read(const BinaryRows::Operand& operand, int64_t row, int64_t i, int64_t count) {
  const float* data = operand.data + row * operand.row_stride;
  return operand.scalar ? broadcast(*data) : load_up_to_16(data + i, count);
}

template <typename Function>
BERTIE_INLINE void apply(Function function, const BinaryRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    float* out = rows.out + row * rows.extent;
    for (int64_t i = 0; i < rows.extent; i += 16) {
      const int64_t count = rows.extent - i;
      store_up_to_16(out + i, function(read(rows.a, row, i, count), read(rows.b, row, i, count)), count);
    }
  }
}

}  // namespace

void elementwise(const BinaryRows& rows, int64_t begin, int64_t end) {
  const auto with = [&](auto f) __attribute__((always_inline)) { apply(f, rows, begin, end); };
  switch (rows.function) {
    case BinaryFunction::add: return with([](Vec16 a, Vec16 b) { return a + b; });
    case BinaryFunction::sub: return with([](Vec16 a, Vec16 b) { return a - b; });
    case BinaryFunction::mul: return with([](Vec16 a, Vec16 b) { return a * b; });
    case BinaryFunction::div: return with([](Vec16 a, Vec16 b) { return a / b; });
    case BinaryFunction::min: return with([](Vec16 a, Vec16 b) { return minimum(a, b); });
    case BinaryFunction::max: return with([](Vec16 a, Vec16 b) { return maximum(a, b); });
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
