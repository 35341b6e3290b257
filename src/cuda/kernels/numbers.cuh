// Numbers of elementary ops as C++ types.
#pragma once

#include "cuda/kernels/elementwise.h"

namespace bertie::cuda {

// Calls body(T{}) for the C++ type of a number.
template <typename Body>
cudaError_t with_number(Number number, Body body) {
  switch (number) {
    case Number::f32: return body(float{});
    case Number::i32: return body(int32_t{});
    case Number::i64: return body(int64_t{});
    case Number::u8: return body(uint8_t{});
  }
  return cudaErrorInvalidValue;
}

}  // namespace bertie::cuda
