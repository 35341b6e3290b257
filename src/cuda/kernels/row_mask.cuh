#pragma once

#include "cuda/kernels/row_mask.h"

namespace bertie::cuda {

__device__ inline bool counts(const RowMask& mask, int64_t row) {
  if (!mask.data) return true;
  switch (mask.number) {
    case Number::f32: return static_cast<const float*>(mask.data)[row] != 0.0f;
    case Number::i32: return static_cast<const int32_t*>(mask.data)[row] != 0;
    case Number::i64: return static_cast<const int64_t*>(mask.data)[row] != 0;
    default: return static_cast<const uint8_t*>(mask.data)[row] != 0;
  }
}

}  // namespace bertie::cuda
