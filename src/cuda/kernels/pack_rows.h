// pack_rows: the rows of a padded tensor that a batch's tokens stand for, one after another.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

struct PackRowsParams {
  const void* x;  // [sequences or 1, columns or 1, row_bytes]
  void* y;        // [tokens, row_bytes]
  int64_t tokens, sequences, row_bytes;
  int64_t per_sequence, per_column;   // rows of x between neighbours; 0 where it is repeated
  const int32_t* cumulative_lengths;  // [sequences + 1]
  const int32_t* columns;             // [tokens]; nullptr: 0, 1, ... in each sequence
  const int32_t* live_tokens;
};

cudaError_t launch_pack_rows(const PackRowsParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
