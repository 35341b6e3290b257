// Linear layers with the residual and layer norm behind them, floats and eight bits.
#include <fmt/format.h>

#include "network/op.h"
#include "tests/conformance/cases.h"
#include "tests/support/eight_bits.h"

namespace bertie::test {
namespace {

// `dtype`: of the weight, and of x where it has eight bits.
ConformanceCase linear_skip_layer_norm_case(int64_t rows, int64_t depth, int64_t columns, DType dtype, bool bias,
                                            bool one_scale) {
  ConformanceCase result;
  result.name = fmt::format("linear_skip_layer_norm [{}, {}] x {} {}{}{}", rows, depth, columns, dtype_name(dtype),
                            bias ? " bias" : "", one_scale ? " one scale" : "");
  auto random = generator(result.name);
  result.op.op = "linear_skip_layer_norm";
  result.op.attributes = {{"epsilon", 1e-5}};
  std::vector<Operand>& inputs = result.op.inputs;
  inputs.resize(8);
  if (is_float(dtype)) {
    inputs[0] = {random_tensor(random, {rows, depth})};
    inputs[2] = {random_tensor(random, {columns, depth}, dtype, 0.06f), true};
  } else {
    const auto eight_bits = [&](const Shape& shape) {
      return dtype == DType::i8 ? random_integers(random, shape) : random_codes(random, shape, 8);
    };
    const float scale = dtype == DType::i8 ? 0.01f : 0.1f;  // of x; of the weight a tenth
    inputs[0] = {eight_bits({rows, depth})};
    inputs[1] = one_scale ? Operand{tensor_of({}, {scale}), true}
                          : Operand{random_tensor(random, {rows}, DType::f32, 0.1f * scale, scale)};
    inputs[2] = {eight_bits({columns, depth}), true};
    inputs[3] = {random_tensor(random, {columns}, DType::f32, 0.01f * scale, 0.1f * scale), true};
  }
  if (bias) inputs[4] = {random_tensor(random, {columns}), true};
  inputs[5] = {random_tensor(random, {rows, columns})};
  inputs[6] = {random_tensor(random, {columns}, DType::f32, 0.2f, 1), true};
  inputs[7] = {random_tensor(random, {columns}), true};
  return result;
}

}  // namespace

std::vector<ConformanceCase> linear_skip_layer_norm_cases(bool eight_bits) {
  std::vector<ConformanceCase> cases;
  const std::vector<DType> dtypes =
      eight_bits ? std::vector{DType::i8, DType::u8} : std::vector{DType::f32, DType::f16, DType::bf16};
  for (const DType dtype : dtypes) {
    for (int64_t rows : {0, 1, 127, 130}) cases.push_back(linear_skip_layer_norm_case(rows, 768, 768, dtype, true, rows == 130));
    for (int64_t columns : {768, 1024})
      cases.push_back(linear_skip_layer_norm_case(9, 784, columns, dtype, columns != 768, columns == 1024));
  }
  return cases;
}

std::vector<ConformanceCase> large_linear_skip_layer_norm_cases(bool eight_bits) {
  if (!eight_bits) return {linear_skip_layer_norm_case(8500, 384, 1024, DType::f32, true, false)};
  return {linear_skip_layer_norm_case(17000, 768, 1024, DType::i8, true, false),
          linear_skip_layer_norm_case(17000, 768, 1024, DType::u8, true, false)};
}

}  // namespace bertie::test
