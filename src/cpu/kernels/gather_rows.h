// Rows of a table, widened to float32.
#pragma once

#include <cstdint>

#include "cpu/kernels/float_type.h"

namespace bertie::cpu {

// Rows of a table by ids that are int32_t or, where `wide`, int64_t.
struct TableRows {
  const void* table;  // [., extent]
  const void* ids;
  FloatType type;
  bool wide;
};

struct GatherRows {
  TableRows source;
  int64_t table_rows;  // an id from here on gives zeros
  int64_t extent;
  float* out;  // [rows, extent]
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {

BERTIE_INLINE int64_t row_id(const TableRows& rows, int64_t index) {
  return rows.wide ? static_cast<const int64_t*>(rows.ids)[index] : static_cast<const int32_t*>(rows.ids)[index];
}

void gather_rows(const GatherRows& rows, int64_t begin, int64_t end);

}  // namespace bertie::cpu::BERTIE_ISA
#endif
