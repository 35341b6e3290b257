// Every family and head against transformers: the folders of tests/data/families, made by tools/golden/make_family_goldens.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "bertie/engine.h"
#include "bertie/model.h"
#include "formats/safetensors.h"

namespace bertie {
namespace {

constexpr const char* kFolder = "tests/data/families";

std::vector<std::string> family_folders() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// The attended tokens of padded i64 inputs, end to end.
struct Packed {
  std::vector<int32_t> ids, types, positions, cumulative_lengths = {0};
  std::vector<int64_t> rows;  // of each token in the padded [batch * sequence]
};

Packed pack(const TensorMap& golden) {
  const auto values = [&](const char* name) { return golden.at(name).tensor->view().as<int64_t>(); };
  const Shape& shape = golden.at("input_ids").tensor->shape;
  Packed packed;
  for (int64_t row = 0; row < shape.elements(); ++row) {
    if (values("attention_mask")[row] != 0) {
      packed.rows.push_back(row);
      packed.ids.push_back(static_cast<int32_t>(values("input_ids")[row]));
      packed.positions.push_back(static_cast<int32_t>(values("position_ids")[row]));
      if (golden.contains("token_type_ids")) packed.types.push_back(static_cast<int32_t>(values("token_type_ids")[row]));
    }
    if ((row + 1) % shape[1] == 0) packed.cumulative_lengths.push_back(static_cast<int32_t>(packed.ids.size()));
  }
  return packed;
}

// transformers' value of the output, of the attended tokens where it has one for each.
std::vector<float> expected_values(const Tensor& tensor, const Packed& packed, const Shape& padded) {
  const float* values = tensor.view().as<float>();
  const bool per_token = tensor.shape.rank() >= 2 && tensor.shape[0] == padded[0] && tensor.shape[1] == padded[1];
  if (!per_token) return {values, values + tensor.shape.elements()};
  const int64_t width = tensor.shape.elements() / padded.elements();
  std::vector<float> rows;
  for (int64_t row : packed.rows) rows.insert(rows.end(), values + row * width, values + (row + 1) * width);
  return rows;
}

double relative_error(const TensorView& actual, const std::vector<float>& expected) {
  double error = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(static_cast<double>(actual.as<float>()[i]) - expected[i], 2);
    norm += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(error / norm);
}

class Families : public testing::TestWithParam<std::tuple<std::string, const char*>> {};

TEST_P(Families, EqualsTransformers) {
  const auto& [name, device] = GetParam();
  const std::string folder = std::string(kFolder) + "/" + name;
  const Model model = Model::load(folder);
  const TensorMap golden = read_safetensors(folder + "/golden.safetensors");
  EXPECT_EQ(model.info().surplus_tensors, std::vector<std::string>{});
  const Shape& padded = golden.at("input_ids").tensor->shape;
  const Packed packed = pack(golden);

  EngineOptions options;
  options.device = device;
  options.threads = 1;
  Session session(Engine::build(model.network(), options));
  session.run({.token_ids = packed.ids,
               .type_ids = packed.types,
               .position_ids = packed.positions,
               .cumulative_lengths = packed.cumulative_lengths});
  size_t compared = 0;
  for (const Network::Output& output : model.network().outputs()) {
    if (!golden.contains(output.name)) {
      // transformers leaves out the pooler of some heads.
      EXPECT_EQ(output.name, "pooler_output");
      continue;
    }
    const std::vector<float> expected = expected_values(*golden.at(output.name).tensor, packed, padded);
    const TensorView actual = session.output(output.name);
    ASSERT_EQ(actual.dtype, DType::f32) << output.name;
    ASSERT_EQ(actual.shape.elements(), static_cast<int64_t>(expected.size())) << output.name;
    EXPECT_LE(relative_error(actual, expected), 3e-6) << output.name;
    ++compared;
  }
  const auto outputs = static_cast<size_t>(
      std::count_if(golden.begin(), golden.end(), [](const auto& entry) { return entry.second.stored_dtype == "F32"; }));
  EXPECT_EQ(compared, outputs) << "an output of transformers is missing";
}

INSTANTIATE_TEST_SUITE_P(All, Families,
                         testing::Combine(testing::ValuesIn(family_folders()), testing::Values("reference", "cpu")),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param) + "_" + std::get<1>(info.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace bertie
