// Rows of floats to eight-bit integers and a scale each, as src/quant/int8.h defines it.
#pragma once

#include <cstdint>

namespace bertie::cpu {

struct QuantizeRows {
  const float* x;  // [rows, extent], x_stride floats apart
  int64_t x_stride;
  int64_t extent;
  int8_t* values;        // [rows, extent]
  float* scales;         // [rows], or nullptr: they are fixed beforehand, by
  const float* inverse;  // [extent]
  const float* offset;   // [extent]
};

}  // namespace bertie::cpu

#ifdef BERTIE_ISA
namespace bertie::cpu::BERTIE_ISA {
void quantize_rows(const QuantizeRows& rows, int64_t begin, int64_t end);
}  // namespace bertie::cpu::BERTIE_ISA
#endif
