// top_k_log_sum_exp: of each row the k largest elements, descending and of equal ones the first first, their places, and the logarithm of the
// sum of all exponentials. NaN comes last.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

constexpr int kTopKMost = 256;

struct TopKLogSumExpParams {
  const void* x;  // [rows, extent]
  float* y;       // [rows, 2 k + 1]
  Element element;
  int64_t rows, extent;
  int32_t k;                 // of 1 to the extent, at most kTopKMost
  const int32_t* live_rows;  // of `rows`; nullptr: all
  int32_t* overflow;         // gets min(*overflow, step) where an element is not finite; nullptr: not looked for
  int32_t step;
};

cudaError_t launch_top_k_log_sum_exp(const TopKLogSumExpParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
