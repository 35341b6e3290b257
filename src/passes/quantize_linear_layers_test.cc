// Which scales the weights of layers in fp8 have: those that cost least, by what the layer reads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "base/cpu_affinity.h"
#include "network/eight_bit_linear.h"
#include "passes/layer_test.h"
#include "passes/value_bounds.h"
#include "quant/fp8.h"

namespace bertie {
namespace {

constexpr int64_t kRows = 48, kWidth = 64;

double error_at(double scale, std::span<const float> row, const std::vector<double>& importance) {
  double error = 0;
  for (size_t k = 0; k < row.size(); ++k) {
    const double off = fp8_to_float(float_to_fp8(static_cast<float>(row[k] / scale))) * scale - row[k];
    error += off * off * importance[k];
  }
  return error;
}

float candidate(std::span<const float> row, int c) {
  return largest_magnitude(row) / 448.0f * (1.0f + static_cast<float>(c) / 16.0f);
}

// By brute force in double.
double least_error(std::span<const float> row, const std::vector<double>& importance) {
  double least = error_at(candidate(row, 0), row, importance);
  for (int c = 1; c < 16; ++c) least = std::min(least, error_at(candidate(row, c), row, importance));
  return least;
}

const Node& named(const Network& network, std::string_view name) {
  const auto order = network.order();
  return network.node(*std::find_if(order.begin(), order.end(), [&](NodeId id) { return network.node(id).name == name; }));
}

std::vector<float> floats(const TensorView& view) { return {view.as<float>(), view.as<float>() + view.shape.elements()}; }

// The rows of `weight` whose scales in layer `name` are not the best for this importance.
int rows_off(const Network& network, const std::string& name, const std::vector<float>& weight,
             const std::vector<double>& importance) {
  const Node& node = named(network, name);
  EXPECT_EQ(node.op, "fp8_linear") << name;
  const std::vector<float> scales = floats(constant_of(network, node, kLinearWeightScale));
  const uint8_t* codes = constant_of(network, node, kLinearWeight).as<uint8_t>();
  const size_t depth = importance.size();
  EXPECT_EQ(scales.size() * depth, weight.size());
  int off = 0;
  for (size_t r = 0; r < scales.size(); ++r) {
    const auto row = std::span(weight).subspan(r * depth, depth);
    bool is_candidate = false;
    for (int c = 0; c < 16; ++c) is_candidate |= scales[r] == candidate(row, c);
    EXPECT_TRUE(is_candidate) << name << " " << r;
    for (size_t k = 0; k < depth; ++k)
      EXPECT_NEAR(fp8_to_float(codes[r * depth + k]), row[k] / scales[r], std::abs(row[k] / scales[r]) / 15 + 0x1p-9) << name;
    off += error_at(scales[r], row, importance) > least_error(row, importance) * (1 + 1e-4);
  }
  return off;
}

// Linear layers, each behind a layer norm of its own or of another's.
class Fp8Scales : public testing::Test {
 protected:
  struct Norm {
    ValueId y;
    std::vector<float> gamma, beta;

    std::vector<double> moments(bool centred = false) const {
      std::vector<double> result;
      for (size_t k = 0; k < gamma.size(); ++k)
        result.push_back(std::pow(static_cast<double>(gamma[k]), 2) + (centred ? 0 : std::pow(static_cast<double>(beta[k]), 2)));
      return result;
    }
  };

  std::vector<float> numbers(int64_t count, float mean, float deviation) {
    std::vector<float> list(static_cast<size_t>(count));
    for (float& number : list) number = mean + deviation * normal_(random_);
    return list;
  }
  ValueId constant(const Shape& shape, const std::vector<float>& values, const std::string& name = "") {
    return network_.add_constant(name, Tensor::from_floats(shape, values));
  }
  Norm norm() {
    Norm made{kNone, numbers(kWidth, 0, 1), numbers(kWidth, 0, 1)};
    made.y = network_.add_layer_norm(x_, constant({kWidth}, made.gamma), constant({kWidth}, made.beta), 1e-12);
    return made;
  }
  void linear(ValueId x, const std::string& name) {
    network_.add_output(name, network_.add_linear(x, w_, constant({kRows}, numbers(kRows, 0, 1)), name));
  }

  std::mt19937 random_{3};
  std::normal_distribution<float> normal_;
  Network network_;
  ValueId x_ = network_.add_input("x", DType::f32, {"tokens", kWidth});
  std::vector<float> weight_ = numbers(kRows * kWidth, 0, 0.05f);
  ValueId w_ = constant({kRows, kWidth}, weight_, "w");
  std::vector<double> alike_ = std::vector<double>(kWidth, 1.0);
};

TEST_F(Fp8Scales, CostLeastByWhatALayerNormGives) {
  const Norm before = norm();
  linear(before.y, "layer");
  run_passes(network_, in_fp8());
  EXPECT_EQ(rows_off(network_, "layer", weight_, before.moments()), 0);
  EXPECT_GT(rows_off(network_, "layer", weight_, alike_), 10);
  EXPECT_GT(rows_off(network_, "layer", weight_, before.moments(true)), 10);
}

TEST_F(Fp8Scales, MindAllColumnsAlikeWhereNothingIsKnown) {
  linear(x_, "layer");
  run_passes(network_, in_fp8());
  EXPECT_EQ(rows_off(network_, "layer", weight_, alike_), 0);
}

// What a calibration's mean corrects in the bias need not be paid for again.
TEST_F(Fp8Scales, BesideACalibratedMeanAreByTheVariance) {
  const Norm before = norm();
  linear(before.y, "mean");
  linear(before.y, "scale alone");
  Calibration calibration;
  for (const char* name : {"mean", "scale alone"}) calibration.layers[name].scale = 0.1f;
  calibration.layers["mean"].mean = before.beta;
  PassOptions options = in_fp8();
  options.calibration = &calibration;
  run_passes(network_, options);
  EXPECT_EQ(rows_off(network_, "mean", weight_, before.moments(true)), 0);
  EXPECT_EQ(rows_off(network_, "scale alone", weight_, before.moments()), 0);
}

// One weight behind different inputs has the scales of each; behind alike ones its eight bits are shared.
TEST_F(Fp8Scales, OfOneWeightAreByWhatEachLayerReads) {
  const Norm first = norm(), second = norm();
  linear(first.y, "a");
  linear(second.y, "b");
  linear(first.y, "c");
  run_passes(network_, in_fp8());
  for (const char* name : {"a", "c"}) EXPECT_EQ(rows_off(network_, name, weight_, first.moments()), 0) << name;
  EXPECT_EQ(rows_off(network_, "b", weight_, second.moments()), 0);
  EXPECT_EQ(named(network_, "a").input(kLinearWeight), named(network_, "c").input(kLinearWeight));
  EXPECT_NE(named(network_, "a").input(kLinearWeight), named(network_, "b").input(kLinearWeight));
}

TEST_F(Fp8Scales, BehindMomentsThatFloatsDoNotHoldAreThoseOfAlikeColumns) {
  Norm before = norm();
  before.gamma[5] = std::nanf("");
  before.y = network_.add_layer_norm(x_, constant({kWidth}, before.gamma), constant({kWidth}, before.beta), 1e-12);
  linear(before.y, "layer");
  run_passes(network_, in_fp8());
  EXPECT_EQ(rows_off(network_, "layer", weight_, alike_), 0);
}

// Every layer of an encoder layer, by the moments that value_bounds_test.cc compares with samples; on one thread and on all.
TEST(Fp8ScalesOfAnEncoderLayer, CostLeastOnAnyNumberOfThreads) {
  const auto quantized = [] {
    auto layer = std::make_unique<Layer>(16);
    layer->network.add_output("last_hidden_state", layer->hidden);
    run_passes(layer->network, in_fp8());
    return layer;
  };
  const auto layer = quantized();
  Layer floating(16);
  floating.network.add_output("last_hidden_state", floating.hidden);
  run_logical_passes(floating.network, {});
  WeightRows rows;
  ValueBounds bounds(floating.network, rows);
  int minds_columns = 0;
  for (const char* name : {"projection", "intermediate", "output"}) {
    const Node& node = named(floating.network, name);
    const ColumnBounds* x = bounds.of(node.input(0));
    ASSERT_TRUE(x) << name;
    std::vector<double> moments = x->variance;
    for (size_t k = 0; k < moments.size(); ++k) moments[k] += x->mean[k] * x->mean[k];
    const std::vector<float> weight = floats(constant_of(floating.network, node, 1));
    EXPECT_EQ(rows_off(layer->network, name, weight, moments), 0) << name;
    minds_columns += rows_off(layer->network, name, weight, std::vector<double>(moments.size(), 1.0));
  }
  EXPECT_GT(minds_columns, 0);

  const PinnedScope one_cpu(allowed_cpus().front());
  ASSERT_EQ(usable_cpus(), 1);
  const auto alone = quantized();
  for (const NodeId id : layer->network.order()) {
    const Node& node = layer->network.node(id);
    if (node.op != "fp8_linear") continue;
    for (const size_t input : {kLinearWeight, kLinearWeightScale}) {
      const TensorView expected = constant_of(layer->network, node, input),
                       found = constant_of(alone->network, named(alone->network, node.name), input);
      ASSERT_EQ(found.shape, expected.shape);
      EXPECT_EQ(std::memcmp(found.data, expected.data, static_cast<size_t>(found.shape.elements()) * dtype_size(found.dtype)), 0);
    }
  }
}

}  // namespace
}  // namespace bertie
