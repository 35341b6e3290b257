// The reference backend against NumPy (reference_golden.json, made by make_reference_golden.py).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "reference/backend.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

using Json = nlohmann::json;

Tensor read_tensor(const Json& json, DType float_dtype, DType index_dtype) {
  const auto extents = json["shape"].get<std::vector<int64_t>>();
  const Shape shape{std::span<const int64_t>(extents)};
  if (json["dtype"] == "i32") return indices(shape, json["values"].get<std::vector<int64_t>>(), index_dtype);
  return tensor_of(shape, json["values"].get<std::vector<float>>(), float_dtype);
}

OpCase read_case(const Json& json, DType float_dtype, DType index_dtype) {
  OpCase op_case;
  op_case.op = json["op"];
  for (const auto& [name, value] : json["attributes"].items()) {
    if (value.is_string()) {
      op_case.attributes[name] = value.get<std::string>();
    } else if (value.is_number_integer()) {
      op_case.attributes[name] = value.get<int64_t>();
    } else {
      op_case.attributes[name] = value.get<double>();
    }
  }
  for (const Json& input : json["inputs"]) {
    op_case.inputs.push_back(input.is_null() ? Operand{} : Operand{read_tensor(input, float_dtype, index_dtype)});
  }
  op_case.lengths = json["lengths"].get<std::vector<int64_t>>();
  op_case.columns = json["columns"].get<std::vector<int32_t>>();
  op_case.queries_only = json["queries_only"].get<std::vector<int32_t>>();
  return op_case;
}

void check_all(DType float_dtype, DType index_dtype, int threads) {
  std::ifstream file("tests/conformance/reference_golden.json");
  const Json cases = Json::parse(file);
  ASSERT_GT(cases.size(), 40u);
  size_t ops = 0;
  std::string last_op;
  for (size_t i = 0; i < cases.size(); ++i) {
    const OpCase op_case = read_case(cases[i], float_dtype, index_dtype);
    ops += op_case.op != last_op;
    last_op = op_case.op;
    const OpResult result = run_op(reference_backend(), op_case, threads);
    ASSERT_EQ(result.kernel, "reference_" + op_case.op);
    const auto expected = cases[i]["result"]["values"].get<std::vector<double>>();
    const auto extents = cases[i]["result"]["shape"].get<std::vector<int64_t>>();
    EXPECT_EQ(result.shape, Shape(std::span<const int64_t>(extents))) << op_case.op << ", case " << i;
    ASSERT_EQ(result.values.size(), expected.size());
    for (size_t k = 0; k < expected.size(); ++k) {
      ASSERT_NEAR(result.values[k], expected[k], 1e-7 * std::abs(expected[k]) + 1e-9)
          << op_case.op << ", case " << i << " " << cases[i]["attributes"].dump() << ", element " << k;
    }
  }
  EXPECT_GE(ops, 12u);
}

TEST(Reference, EqualsNumPy) { check_all(DType::f32, DType::i32, 1); }
TEST(Reference, EqualsNumPyOnSeveralThreads) { check_all(DType::f32, DType::i64, 3); }
// The values have few digits: every float format holds them exactly.
TEST(Reference, ReadsHalfTensors) { check_all(DType::f16, DType::i32, 1); }
TEST(Reference, ReadsBfloat16Tensors) { check_all(DType::bf16, DType::i32, 1); }
TEST(Reference, ReadsDoubleTensors) { check_all(DType::f64, DType::i32, 1); }

}  // namespace
}  // namespace bertie::test
