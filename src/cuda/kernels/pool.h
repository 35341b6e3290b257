// pool: one row a sequence, over its rows that are keys (cls: its very first row). Sums in float32.
#pragma once

#include "cuda/kernels/row_mask.h"

namespace bertie::cuda {

enum class PoolMode : int32_t { mean, cls, max, mean_sqrt_length };

struct PoolParams {
  const void* x;  // packed [T, width], or padded [sequences, length, width]
  float* y;       // [sequences, width]
  Element element;
  PoolMode mode;
  int64_t sequences, width, length;
  const int32_t* cumulative_lengths;  // [sequences + 1]; nullptr: padded
  const int32_t* queries_only;        // [sequences] leading rows that are no keys; nullptr: none
  RowMask mask;                       // of padded rows: which count, for all modes but cls
  const int32_t* live_sequences;      // of `sequences`; nullptr: all
};

cudaError_t launch_pool(const PoolParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
