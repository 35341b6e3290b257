// One element of a tensor of any dtype, as a number.
#pragma once

#include "base/float_element.h"
#include "bertie/tensor.h"

namespace bertie {

// i64 beyond 2^53 is rounded; a bool is 0 or 1.
inline double element(const TensorView& view, int64_t index) {
  switch (view.dtype) {
    case DType::f64: return view.as<double>()[index];
    case DType::i8: return view.as<int8_t>()[index];
    case DType::u8: return view.as<uint8_t>()[index];
    case DType::boolean: return view.as<uint8_t>()[index] != 0;
    case DType::i32: return view.as<int32_t>()[index];
    case DType::i64: return static_cast<double>(view.as<int64_t>()[index]);
    default: return float_element(view, static_cast<size_t>(index));
  }
}

}  // namespace bertie
