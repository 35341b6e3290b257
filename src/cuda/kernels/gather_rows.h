// gather_rows: y[i] = table[ids[i]]: embeddings, and rows picked from a batch.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

struct GatherRowsParams {
  const void* table;         // [., row_bytes]
  const void* ids;           // [count], each within the table
  int32_t wide_ids;          // i64, else i32
  void* y;                   // [count, row_bytes]
  int64_t count, row_bytes;  // even
  const int32_t* live_rows;  // of `count`; nullptr: all
};

cudaError_t launch_gather_rows(const GatherRowsParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
