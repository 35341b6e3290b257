// Rows that a kernel gives in eight bits, integers (quant/int8.h) or e4m3 (quant/fp8.h), beside floats or in their place.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

struct QuantizedRows {
  int8_t* values;             // [rows, width], or codes of e4m3; nullptr: rows are not quantised
  int32_t e4m3;               // else integers
  float* scales;              // [rows], of each row's largest magnitude; nullptr: by `quantization`
  const float* quantization;  // [2, width]: inverse scales and offsets of the columns
  // Of all columns where it is a power of two from 1 to 2^15, by which f16 loses nothing, and offsets are 0; else 0. For kernels that have a shorter
  // way then; `quantization` says the same.
  float inverse;
};

// From row `row` on.
inline QuantizedRows from_row(QuantizedRows rows, int64_t row, int64_t width) {
  if (rows.values) rows.values += row * width;
  if (rows.scales) rows.scales += row;
  return rows;
}

}  // namespace bertie::cuda
