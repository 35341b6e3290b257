#include "cpu/kernels/gather_rows.h"

#include "cpu/kernels/vec.h"

namespace bertie::cpu::BERTIE_ISA {
namespace {

template <FloatType type>
void gather(const GatherRows& rows, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const int64_t id = row_id(rows.source, row);
    float* out = rows.out + row * rows.extent;
    for (int64_t i = 0; i < rows.extent; i += 16) {
      const int64_t count = rows.extent - i;
      store_up_to_16(out + i, id < rows.table_rows ? read_floats<type>(rows.source.table, id * rows.extent + i, count) : zero(),
                     count);
    }
  }
}

}  // namespace

void gather_rows(const GatherRows& rows, int64_t begin, int64_t end) {
  switch (rows.source.type) {
    case FloatType::f32: return gather<FloatType::f32>(rows, begin, end);
    case FloatType::f16: return gather<FloatType::f16>(rows, begin, end);
    case FloatType::bf16: return gather<FloatType::bf16>(rows, begin, end);
  }
}

}  // namespace bertie::cpu::BERTIE_ISA
