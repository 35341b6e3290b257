// convert: floats of one width as floats of another, rounded to nearest even.
#pragma once

#include "cuda/kernels/launch.h"

namespace bertie::cuda {

struct ConvertParams {
  const void* from;
  void* to;
  Element from_element, to_element;
  int64_t count;
  // What is live: the first *live_rows * row_elements; nullptr: all. Of those, what f16 cannot hold is reported.
  const int32_t* live_rows;
  int64_t row_elements;
  int32_t* overflow;  // nullptr: not looked for
  int32_t step;
};

cudaError_t launch_convert(const ConvertParams& params, cudaStream_t stream);

}  // namespace bertie::cuda
