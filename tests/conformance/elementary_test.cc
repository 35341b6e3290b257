// The elementary ops against the onnx package's reference evaluator and NumPy (elementary_golden.json, made by make_elementary_golden.py):
// shape rules and reference kernels together, as evaluate() runs them.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "network/element.h"
#include "network/op.h"
#include "reference/evaluate.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

using Json = nlohmann::json;

Shape read_shape(const Json& json) {
  const auto extents = json["shape"].get<std::vector<int64_t>>();
  return Shape(std::span<const int64_t>(extents));
}

// Numbers, true and false, or "nan", "inf", "-inf".
double read_number(const Json& json) {
  if (json.is_string()) return std::stod(json.get<std::string>());
  return json.is_boolean() ? json.get<bool>() : json.get<double>();
}

Tensor read_tensor(const Json& json) {
  const DType dtype = dtype_named(json["dtype"].get<std::string>()).value();
  const Shape shape = read_shape(json);
  if (is_float(dtype)) {
    std::vector<float> values;
    for (const Json& value : json["values"]) values.push_back(static_cast<float>(read_number(value)));
    return tensor_of(shape, values, dtype);
  }
  const size_t width = dtype_size(dtype);
  const auto& values = json["values"];
  std::shared_ptr<std::byte[]> bytes(new std::byte[values.size() * width + 1]);
  for (size_t i = 0; i < values.size(); ++i) {
    // Two's complement, lowest byte first: the narrower dtypes are the first bytes.
    const int64_t value = values[i].is_boolean() ? values[i].get<bool>() : values[i].get<int64_t>();
    std::memcpy(bytes.get() + i * width, &value, width);
  }
  return {dtype, shape, std::shared_ptr<const void>(bytes, bytes.get())};
}

Attributes read_attributes(const Json& json) {
  Attributes attributes;
  for (const auto& [name, value] : json.items()) {
    if (value.is_string()) {
      attributes[name] = value.get<std::string>();
    } else if (value.is_array()) {
      attributes[name] = value.get<std::vector<int64_t>>();
    } else if (value.is_number_integer()) {
      attributes[name] = value.get<int64_t>();
    } else {
      attributes[name] = value.get<double>();
    }
  }
  return attributes;
}

void expect_equal(const Tensor& actual, const Json& expected, const std::string& what) {
  // Ops that only move elements keep a float's width; the others give f32.
  const DType dtype = dtype_named(expected["dtype"].get<std::string>()).value();
  ASSERT_TRUE(actual.dtype == dtype || (is_float(actual.dtype) && is_float(dtype))) << what << ": " << dtype_name(actual.dtype);
  ASSERT_EQ(actual.shape, read_shape(expected)) << what << ": " << actual.shape.to_string();
  const Tensor wanted = read_tensor(expected);
  for (int64_t i = 0; i < actual.shape.elements(); ++i) {
    if (actual.dtype == DType::i64) {
      ASSERT_EQ(actual.view().as<int64_t>()[i], wanted.view().as<int64_t>()[i]) << what << ", element " << i;
      continue;
    }
    const double a = element(actual.view(), i);
    const double b = element(wanted.view(), i);
    if (std::isnan(b) || std::isinf(b) || !is_float(actual.dtype)) {
      ASSERT_TRUE(a == b || (std::isnan(a) && std::isnan(b))) << what << ", element " << i << ": " << a << ", not " << b;
    } else {
      ASSERT_NEAR(a, b, 1e-6 * std::abs(b) + 1e-7) << what << ", element " << i;
    }
  }
}

bool is_fixed(const SymbolicShape& shape) {
  return std::all_of(shape.begin(), shape.end(), [](const Dim& dim) { return dim.is_fixed(); });
}

// given: the floats come with the run; else everything is a constant.
void check_case(const Json& json, size_t index, bool given) {
  const std::string op = json["op"];
  const std::string what = fmt::format("case {}: {} {}{}", index, op, json["attributes"].dump(), given ? ", given" : "");
  Network network;
  std::map<ValueId, Tensor> inputs;
  std::vector<ValueId> ids;
  for (const Json& input : json["inputs"]) {
    if (input.is_null()) {
      ids.push_back(kNone);
      continue;
    }
    const Tensor tensor = read_tensor(input);
    if (given && is_float(tensor.dtype)) {
      ids.push_back(network.add_input("x", tensor.dtype, SymbolicShape(tensor.shape.begin(), tensor.shape.end())));
      inputs[ids.back()] = tensor;
    } else {
      ids.push_back(network.add_constant("x", tensor));
    }
  }
  const std::vector<ValueId> outputs = network.add_node(op, ids, read_attributes(json["attributes"]));
  const std::vector<Tensor> results = evaluate(network, outputs, inputs);
  ASSERT_EQ(results.size(), json["results"].size()) << what;
  for (size_t i = 0; i < results.size(); ++i) {
    const Value& value = network.value(outputs[i]);
    if (is_fixed(value.shape)) {
      EXPECT_EQ(to_string(value.shape), results[i].shape.to_string()) << what;
    }
    // What the rule says of the elements is what they are.
    if (value.elements && value.dtype == DType::i64 && is_fixed(*value.elements)) {
      for (size_t k = 0; k < value.elements->size(); ++k)
        EXPECT_EQ((*value.elements)[k].size, results[i].view().as<int64_t>()[k]) << what;
    }
    expect_equal(results[i], json["results"][i], what);
  }
}

TEST(Elementary, EqualsOnnxAndNumPy) {
  std::ifstream file("tests/conformance/elementary_golden.json");
  const Json cases = Json::parse(file);
  ASSERT_GT(cases.size(), 500u);
  std::set<std::string> ops;
  for (size_t i = 0; i < cases.size(); ++i) {
    ops.insert(cases[i]["op"].get<std::string>());
    for (const bool given : {false, true}) {
      try {
        check_case(cases[i], i, given);
      } catch (const std::exception& error) {
        ADD_FAILURE() << "case " << i << " " << cases[i]["op"] << " " << cases[i]["attributes"].dump() << ": " << error.what();
      }
    }
  }
  EXPECT_GE(ops.size(), 35u);
}

TEST(Elementary, IndicesOutsideTheirAxisAreErrors) {
  Network network;
  const ValueId x = network.add_constant("x", tensor_of({2, 3}, std::vector<float>(6)));
  const ValueId bad = network.add_constant("bad", indices({1, 1}, {3}, DType::i64));
  const ValueId update = network.add_constant("update", tensor_of({1, 1}, {1}));
  const ValueId row = network.add_constant("row", tensor_of({1, 3}, {1, 2, 3}));
  const ValueId results[] = {network.add_gather(x, bad, 1),
                             network.add_node("gather_elements", {x, bad}, {{"axis", int64_t{0}}})[0],
                             network.add_node("gather_nd", {x, bad}, {})[0],
                             network.add_node("scatter_elements", {x, bad, update}, {{"axis", int64_t{1}}})[0],
                             network.add_node("scatter_nd", {x, bad, row}, {})[0]};
  for (const ValueId result : results)
    EXPECT_THROW(evaluate(network, std::array{result}, {}), Error) << network.value(result).name;
}

// Known elements of the bools and choices by which exporters put extents in the place of -1.
TEST(Elementary, AnExpandShapeKeepsItsSymbols) {
  Network network;
  const ValueId x = network.add_input("x", DType::f32, {1, "sequence"});
  const ValueId like = network.add_input("like", DType::i64, {"batch", "sequence"});
  const ValueId extents = network.add_node("shape", {like}, {})[0];
  const ValueId shape =
      network.add_concat({network.add_slice(extents, 0, 0, 1), network.add_integers(std::array<int64_t, 1>{-1})}, 0);
  const ValueId unknown = network.add_elementwise("equal", shape, network.add_integers(std::array<int64_t, 2>{-1, -1}));
  const ValueId ones = network.add_integers(std::array<int64_t, 2>{1, 1});
  const ValueId target = network.add_where(unknown, ones, shape);
  const ValueId wide = network.add_node("expand", {x, target}, {})[0];
  EXPECT_EQ(to_string(network.value(wide).shape), "[batch, sequence]");
}

}  // namespace
}  // namespace bertie::test
