#include "cpu/operands.h"

#include <fmt/format.h>

#include "base/float_element.h"

namespace bertie::cpu {

std::optional<FloatType> float_type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return FloatType::f32;
    case DType::f16: return FloatType::f16;
    case DType::bf16: return FloatType::bf16;
    default: return std::nullopt;
  }
}

std::vector<float> widened(const Tensor& tensor) {
  std::vector<float> floats(static_cast<size_t>(tensor.shape.elements()));
  const TensorView view = tensor.view();
  for (size_t i = 0; i < floats.size(); ++i) floats[i] = float_element(view, i);
  return floats;
}

int64_t row_count(const Shape& shape) {
  int64_t rows = 1;
  for (int axis = 0; axis + 1 < shape.rank(); ++axis) rows *= shape[axis];
  return rows;
}

void Operands::require_f32(size_t input, std::string_view name) const {
  const DType dtype = value(input).dtype;
  if (dtype != DType::f32) throw Refused{fmt::format("{} is {}, not f32", name, dtype_name(dtype))};
}

int64_t Operands::fixed_width(size_t input, std::string_view name) const {
  const SymbolicShape& shape = value(input).shape;
  if (shape.empty() || !shape.back().is_fixed()) throw Refused{fmt::format("the width of {} is not fixed", name)};
  return shape.back().size;
}

FloatType Operands::float_type(size_t input, std::string_view name) const {
  const DType dtype = value(input).dtype;
  const std::optional<FloatType> type = float_type_of(dtype);
  if (!type) throw Refused{fmt::format("{} is {}", name, dtype_name(dtype))};
  return *type;
}

std::vector<float> Operands::constant(size_t input, std::string_view name) const {
  float_type(input, name);
  const std::optional<Tensor>& tensor = value(input).constant;
  if (!tensor) throw Refused{fmt::format("{} is not constant", name)};
  return widened(*tensor);
}

}  // namespace bertie::cpu
