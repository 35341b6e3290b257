// What the elementary ops of this folder share: kinds of numbers, and strides of operands that broadcast.
#pragma once

#include <algorithm>
#include <string_view>

#include "cuda/kernels/elementwise.h"
#include "cuda/kernels/row_mask.h"
#include "cuda/step.h"

namespace bertie::cuda {

inline Number number_of(DType dtype, std::string_view name) {
  switch (dtype) {
    case DType::f32: return Number::f32;
    case DType::i32: return Number::i32;
    case DType::i64: return Number::i64;
    case DType::u8:
    case DType::boolean: return Number::u8;
    default: throw Refused{fmt::format("{} is {}", name, dtype_name(dtype))};
  }
}

// Floats are wanted as f32, other numbers as they are.
inline void want_number(Operands& operands, size_t input, std::string_view name) {
  const DType dtype = operands.value(input).dtype;
  if (is_stored_float(dtype)) {
    operands.want(input, DType::f32, name);
  } else {
    number_of(dtype, name);
    operands.want_as_it_is(input);
  }
}

// Of what want_number() wanted, as a run sees it; left out with null data.
inline RowMask row_mask(const TensorView& view) {
  return {view.data, view.dtype == DType::f32   ? Number::f32
                     : view.dtype == DType::i32 ? Number::i32
                     : view.dtype == DType::i64 ? Number::i64
                                                : Number::u8};
}

// Of a dense operand against a result: 0 along axes that broadcast.
inline void broadcast_strides(const Shape& operand, const Shape& result, int64_t* strides) {
  int64_t stride = 1;
  for (int axis = result.rank() - 1; axis >= 0; --axis) {
    const int own = axis - (result.rank() - operand.rank());
    strides[axis] = own < 0 || operand[own] == 1 ? 0 : stride;
    if (own >= 0) stride *= operand[own];
  }
}

}  // namespace bertie::cuda
