// Which rows of padded tensors count: those whose mask is not 0.
#pragma once

#include "cuda/kernels/elementwise.h"

namespace bertie::cuda {

struct RowMask {
  const void* data;  // [rows]; nullptr: all count
  Number number;
};

}  // namespace bertie::cuda
