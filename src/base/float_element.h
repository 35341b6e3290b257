// One element of a floating tensor, whatever its width.
#pragma once

#include <cstddef>

#include "base/float16.h"
#include "bertie/tensor.h"

namespace bertie {

// `view` is f32, f16 or bf16.
inline float float_element(const TensorView& view, size_t index) {
  switch (view.dtype) {
    case DType::f16: return f16_to_float(view.as<uint16_t>()[index]);
    case DType::bf16: return bf16_to_float(view.as<uint16_t>()[index]);
    default: return view.as<float>()[index];
  }
}

}  // namespace bertie
