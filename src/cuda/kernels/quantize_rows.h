// quantize_rows: rows of floats in eight bits.
#pragma once

#include "cuda/kernels/quantized_rows.h"

namespace bertie::cuda {

struct QuantizeRowsParams {
  const void* x;  // [rows, width], 16-byte aligned
  Element element;
  QuantizedRows quantized;  // 16-byte aligned
  int64_t rows, width;
  const int32_t* live_rows;  // of `rows`; nullptr: all
};

cudaError_t launch_quantize_rows(const QuantizeRowsParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
