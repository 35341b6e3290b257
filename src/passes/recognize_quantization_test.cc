// Quantised spellings, and what becomes of them: which layers read integers by which ranges, which weights, and what runs as it stands.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "passes/pass.h"
#include "reference/evaluate.h"

namespace bertie {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

constexpr int64_t kWidth = 4;

template <typename T>
Tensor bytes(const Shape& shape, std::vector<T> values) {
  const auto kept = std::make_shared<std::vector<T>>(std::move(values));
  const DType dtype = std::is_same_v<T, int8_t> ? DType::i8 : DType::u8;
  return {dtype, shape, std::shared_ptr<const void>(kept, kept->data())};
}

// x [batch, sequence, 4], a float input, and a weight of integers.
struct Quantized {
  Network network;
  ValueId x = network.add_input("x", DType::f32, {"batch", "sequence", kWidth});
  const std::vector<int8_t> integers = {3, -90, 5, 7, 11, 0, -2, 90, 1, 2, 64, 4, -128 + 38, 8, 9, 10};  // [4, 4]

  ValueId number(float value) { return network.add_constant("number", Tensor::from_floats({}, std::span(&value, 1))); }
  ValueId numbers(std::vector<float> values) {
    const Shape shape{static_cast<int64_t>(values.size())};
    return network.add_constant("numbers", Tensor::from_floats(shape, values));
  }
  template <typename T>
  ValueId zero(T value) {
    return network.add_constant("zero", bytes<T>({}, {value}));
  }
  ValueId pair(ValueId value, ValueId scale, ValueId zero_point, const std::string& name = "", Attributes attributes = {}) {
    const ValueId q =
        network.add_node("quantize_linear", {value, scale, zero_point}, attributes, name.empty() ? "" : name + ".q")[0];
    return network.add_node("dequantize_linear", {q, scale, zero_point}, attributes, name)[0];
  }
  // [K, N], a scale for each column.
  ValueId weight(const std::vector<float>& scales = {0.1f, 0.2f, 0.03f, 0.5f}) {
    const ValueId values = network.add_constant("weight", bytes<int8_t>({kWidth, kWidth}, integers));
    return network.add_node("dequantize_linear", {values, numbers(scales)}, {{"axis", int64_t{1}}})[0];
  }
  void output(ValueId value) { network.add_output("y", value); }

  // Lines of recognize_quantization's log.
  std::vector<std::string> run(PassOptions options = {.precision = "int8"}) {
    for (const PassReport& report : run_passes(network, options)) {
      if (report.name == "recognize_quantization") return report.lines;
    }
    return {};
  }
  std::vector<std::string> ops() const {
    std::vector<std::string> names;
    for (NodeId id : network.order()) names.push_back(network.node(id).op);
    return names;
  }
  const Node& only(std::string_view op) const {
    const auto order = network.order();
    return network.node(*std::find_if(order.begin(), order.end(), [&](NodeId id) { return network.node(id).op == op; }));
  }
  std::vector<float> floats(ValueId id) const {
    const TensorView view = network.value(id).constant->view();
    return {view.as<float>(), view.as<float>() + view.shape.elements()};
  }
};

TEST(RecognizeQuantization, APairBeforeAProductIsTheLayersInput) {
  Quantized file;
  const ValueId x = file.pair(file.x, file.number(0.5f), file.zero<uint8_t>(100), "pair");
  file.output(file.network.add_matmul(x, file.weight(), "product"));
  EXPECT_THAT(file.run(), Contains(HasSubstr("its input by the file's scale: product")));
  ASSERT_THAT(file.ops(), ElementsAre("quantize_rows", "int8_linear"));
  // x / 0.5 + 100 - 127, and so 0.5 * 27 more in each x than the integers say.
  EXPECT_THAT(file.floats(file.only("quantize_rows").input(1)), ElementsAre(2, 2, 2, 2, -27, -27, -27, -27));
  const Node& layer = file.only("int8_linear");
  EXPECT_THAT(file.floats(layer.input(1)), ElementsAre(0.5f));
  const TensorView values = file.network.value(layer.input(2)).constant->view();
  const std::vector<float> scales = file.floats(layer.input(3)), bias = file.floats(layer.input(4));
  for (int64_t n = 0; n < kWidth; ++n) {
    const std::vector<float> of_file = {0.1f, 0.2f, 0.03f, 0.5f};
    double sum = 0;
    for (int64_t k = 0; k < kWidth; ++k) {
      const float exact =
          static_cast<float>(file.integers[static_cast<size_t>(k * kWidth + n)]) * of_file[static_cast<size_t>(n)];
      EXPECT_FLOAT_EQ(values.as<int8_t>()[n * kWidth + k] * scales[static_cast<size_t>(n)], exact) << n << " " << k;
      sum += exact;
    }
    EXPECT_FLOAT_EQ(bias[static_cast<size_t>(n)], static_cast<float>(0.5 * 27 * sum));
  }
}

TEST(RecognizeQuantization, SignedIntegersAboutZeroNeedNoShift) {
  Quantized file;
  const ValueId x = file.pair(file.x, file.number(0.25f), file.zero<int8_t>(0));
  file.output(file.network.add_matmul(x, file.weight(), "product"));
  file.run();
  EXPECT_THAT(file.floats(file.only("quantize_rows").input(1)), ElementsAre(4, 4, 4, 4, 0, 0, 0, 0));
  EXPECT_EQ(file.only("int8_linear").input(4), kNone);
}

TEST(RecognizeQuantization, OtherPairsGoAndLayoutsLieBetween) {
  Quantized file;
  const ValueId scale = file.number(0.5f), zero = file.zero<uint8_t>(100);
  const ValueId x = file.pair(file.x, scale, zero, "first");
  const ValueId sum = file.network.add_elementwise("add", x, file.pair(file.x, file.number(0.1f), zero, "second"), "sum");
  const ValueId flat = file.network.add_reshape(file.pair(sum, scale, zero, "third"), std::vector<int64_t>{-1, kWidth}, "flat");
  const ValueId product = file.network.add_matmul(flat, file.weight(), "product");
  file.output(file.pair(product, scale, zero, "fourth"));
  const auto lines = file.run();
  EXPECT_THAT(lines, Contains("dropped, for elementwise is computed in floats: first, second"));
  EXPECT_THAT(lines, Contains("dropped, for reshape is computed in floats: third"));
  EXPECT_THAT(lines, Contains("dropped, for an output is computed in floats: fourth"));
  const auto ops = file.ops();
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "int8_linear"), 1);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "quantize_rows"), 1);
  EXPECT_THAT(ops, testing::Not(Contains(HasSubstr("quantize_linear"))));
}

TEST(RecognizeQuantization, LayersWithoutAPairStayInFloats) {
  Quantized file;
  const ValueId x = file.pair(file.x, file.number(0.5f), file.zero<uint8_t>(100));
  file.output(file.network.add_matmul(x, file.weight(), "with"));
  file.network.add_output("z", file.network.add_matmul(file.x, file.weight(), "without"));
  Quantized named = file;
  file.run();
  EXPECT_THAT(file.ops(), UnorderedElementsAre("quantize_rows", "int8_linear", "linear"));
  named.run({.precision = "int8", .layer_precision = {{"without", "int8"}}});
  EXPECT_THAT(named.ops(), UnorderedElementsAre("quantize_rows", "int8_linear", "quantize_rows", "int8_linear"));
}

TEST(RecognizeQuantization, InFloatsWeightsAreWhatTheyStandFor) {
  Quantized file;
  const ValueId x = file.pair(file.x, file.number(0.5f), file.zero<uint8_t>(100));
  file.output(file.network.add_matmul(x, file.weight(), "product"));
  file.run({});
  ASSERT_THAT(file.ops(), ElementsAre("linear"));
  EXPECT_EQ(file.only("linear").input(0), file.x);
  EXPECT_FLOAT_EQ(file.floats(file.only("linear").input(1))[kWidth], -90 * 0.2f);
}

TEST(RecognizeQuantization, ACalibrationOverrulesTheFile) {
  Quantized file;
  const ValueId x = file.pair(file.x, file.number(0.5f), file.zero<uint8_t>(100));
  file.output(file.network.add_matmul(x, file.weight(), "product"));
  Calibration calibration;
  calibration.layers["product"].scale = 0.125f;
  file.run({.precision = "int8", .calibration = &calibration});
  EXPECT_THAT(file.floats(file.only("quantize_rows").input(1)), ElementsAre(8, 8, 8, 8, 0, 0, 0, 0));
}

TEST(RecognizeQuantization, WhatIsDoneByColumnBeforeAPairIsPartOfIt) {
  Quantized file;
  ValueId x = file.network.add_elementwise("mul", file.x, file.numbers({1, 2, 3, 4}));
  x = file.network.add_elementwise("add", file.numbers({5, 6, 7, 8}), x);
  x = file.pair(x, file.number(0.5f), file.zero<int8_t>(3));
  file.output(file.network.add_matmul(x, file.weight(), "product"));
  file.run();
  ASSERT_THAT(file.ops(), ElementsAre("quantize_rows", "int8_linear"));
  EXPECT_THAT(file.floats(file.only("quantize_rows").input(1)), ElementsAre(2, 4, 6, 8, 14, 16, 18, 20));
}

TEST(RecognizeQuantization, DynamicRangesAreThoseOfRows) {
  Quantized file;
  const auto q = file.network.add_node("dynamic_quantize_linear", {file.x}, {{"per_row", int64_t{1}}}, "ranges");
  const ValueId weight = file.network.add_constant("weight", bytes<uint8_t>({kWidth, 2}, {0, 255, 128, 130, 200, 1, 7, 9}));
  const ValueId zeros = file.network.add_constant("zeros", bytes<uint8_t>({2}, {128, 3}));
  const ValueId sums = file.network.add_node("matmul_integer", {q[0], weight, q[2], zeros}, {}, "product")[0];
  const ValueId scale = file.network.add_elementwise("mul", q[1], file.numbers({0.5f, 2.0f}));
  file.output(file.network.add_elementwise("mul", file.network.add_cast(sums, DType::f32), scale));
  Quantized in_floats = file;
  const auto lines = file.run();
  EXPECT_THAT(lines, Contains(HasSubstr("its input by the range of each row: product")));
  EXPECT_THAT(lines, testing::Not(Contains(HasSubstr("refused"))));
  EXPECT_THAT(file.ops(), ElementsAre("quantize_rows", "int8_linear"));
  in_floats.run({});
  ASSERT_THAT(in_floats.ops(), ElementsAre("linear"));
  EXPECT_THAT(in_floats.floats(in_floats.only("linear").input(1)), ElementsAre(-64, 0, 36, -60.5f, 504, 254, -4, 12));
}

TEST(RecognizeQuantization, IntegerProductsOfFixedRangesAreTheSameLayers) {
  Quantized file;
  const ValueId zero = file.zero<uint8_t>(100);
  const ValueId q = file.network.add_node("quantize_linear", {file.x, file.number(0.5f), zero}, {}, "q")[0];
  const ValueId weight = file.network.add_constant("weight", bytes<int8_t>({kWidth, kWidth}, file.integers));
  const ValueId sums = file.network.add_node("matmul_integer", {q, weight, zero}, {}, "product")[0];
  file.output(file.network.add_elementwise("mul", file.network.add_cast(sums, DType::f32), file.number(0.125f)));
  EXPECT_THAT(file.run(), Contains(HasSubstr("its input by the file's scale: product")));
  ASSERT_THAT(file.ops(), ElementsAre("quantize_rows", "int8_linear"));
  EXPECT_THAT(file.floats(file.only("quantize_rows").input(1)), ElementsAre(2, 2, 2, 2, -27, -27, -27, -27));
  EXPECT_FLOAT_EQ(file.floats(file.only("int8_linear").input(4))[0], 0.5f * 27 * 0.25f * (3 + 11 + 1 - 90));
}

// Scales [4, 1] of a product [.., 4, 4] multiply its rows.
TEST(RecognizeQuantization, AScaleOfRowsIsNotOneOfColumns) {
  Quantized file;
  const ValueId x = file.network.add_input("square", DType::f32, {kWidth, kWidth});
  const ValueId zero = file.zero<uint8_t>(100);
  const ValueId q = file.network.add_node("quantize_linear", {x, file.number(0.5f), zero}, {}, "q")[0];
  const ValueId weight = file.network.add_constant("weight", bytes<int8_t>({kWidth, kWidth}, file.integers));
  const ValueId sums = file.network.add_node("matmul_integer", {q, weight, zero}, {}, "product")[0];
  const std::vector<float> scales = {1, 2, 3, 4};
  const ValueId scale = file.network.add_constant("scales", Tensor::from_floats({kWidth, 1}, scales));
  file.output(file.network.add_elementwise("mul", file.network.add_cast(sums, DType::f32), scale));
  EXPECT_THAT(file.run(), Contains(HasSubstr("refused: 1 quantisations run as they are, the first 'product'")));
  EXPECT_THAT(file.ops(), Contains("matmul_integer"));
}

TEST(RecognizeQuantization, TablesInEightBitsAreTablesOfFloats) {
  Quantized file;
  const ValueId ids = file.network.add_input("ids", DType::i64, {"batch", "sequence"});
  const ValueId table = file.network.add_constant("table", bytes<uint8_t>({3, 2}, {0, 255, 128, 130, 7, 9}));
  const ValueId rows = file.network.add_gather(table, ids, 0, "rows");
  file.output(file.network.add_node("dequantize_linear", {rows, file.number(0.5f), file.zero<uint8_t>(128)}, {}, "floats")[0]);
  file.run();
  ASSERT_THAT(file.ops(), ElementsAre("embedding"));
  EXPECT_THAT(file.floats(file.only("embedding").input(0)), ElementsAre(-64, 63.5f, 0, 1, -60.5f, -59.5f));
}

// Each runs as it stands, and the log says why.
TEST(RecognizeQuantization, WhatIsNotUnderstoodRunsAsItStands) {
  const auto refusal = [](auto make) {
    Quantized file;
    file.output(file.network.add_matmul(make(file), file.weight(), "product"));
    const auto lines = file.run();
    EXPECT_THAT(file.ops(), Contains("dequantize_linear"));
    EXPECT_THAT(file.ops(), testing::Not(Contains("int8_linear")));
    const auto found =
        std::find_if(lines.begin(), lines.end(), [](const std::string& line) { return line.starts_with("refused"); });
    return found == lines.end() ? "" : *found;
  };
  EXPECT_EQ(refusal([](Quantized& file) {
              const ValueId scale = file.network.add_input("scale", DType::f32, {});
              return file.pair(file.x, scale, file.zero<uint8_t>(0), "pair");
            }),
            "refused: 1 quantisations run as they are, the first 'pair': its scale is not a constant");
  EXPECT_EQ(refusal([](Quantized& file) {
              const ValueId zeros = file.network.add_constant("zeros", bytes<int8_t>({4}, {0, 0, 0, 0}));
              return file.pair(file.x, file.numbers({1, 2, 3, 4}), zeros, "pair", {{"axis", int64_t{2}}});
            }),
            "refused: 1 quantisations run as they are, the first 'pair': it has a scale for each channel");
  EXPECT_EQ(
      refusal([](Quantized& file) {
        const ValueId zero = file.zero<uint8_t>(0);
        const ValueId q = file.network.add_node("quantize_linear", {file.x, file.number(0.5f), zero}, {}, "q")[0];
        return file.network.add_node("dequantize_linear", {q, file.number(0.25f), zero}, {}, "pair")[0];
      }),
      "refused: 1 quantisations run as they are, the first 'pair': QuantizeLinear and DequantizeLinear have different scales");
}

// Without a layer in int8 an engine file keeps what the file says of its inputs.
TEST(RecognizeQuantization, WhereNoLayerIsHeldRangesStay) {
  for (const char* precision : {"fp32", "int8"}) {
    Quantized file;
    const ValueId x = file.pair(file.x, file.number(0.5f), file.zero<uint8_t>(100));
    file.output(file.network.add_linear(
        x, file.network.add_constant("weight", Tensor::from_floats({1, kWidth}, std::vector<float>{1, 2, 3, 5.5f})), kNone,
        "layer"));
    run_logical_passes(file.network, {});
    const size_t held = precision == std::string("int8");
    EXPECT_EQ(hold_precisions(file.network, {.layer_precision = {{"layer", precision}}}), held);
    EXPECT_THAT(file.ops(), Contains(held ? "int8_linear" : "fake_quantize"));
  }
}

// A range that is computed is none that a layer can be built with.
TEST(RecognizeQuantization, AComputedRangeIsDropped) {
  Quantized file;
  const ValueId scale = file.network.add_input("scale", DType::f32, {});
  const ValueId fake = file.network.add_node("fake_quantize", {file.x, scale, file.zero<uint8_t>(0)}, {}, "fake")[0];
  file.output(file.network.add_linear(
      fake, file.network.add_constant("weight", Tensor::from_floats({1, kWidth}, std::vector<float>{1, 2, 3, 5.5f})), kNone,
      "layer"));
  file.run();
  EXPECT_THAT(file.ops(), ElementsAre("quantize_rows", "int8_linear"));
}

TEST(RecognizeQuantization, SaysWhetherActivationsAreQuantised) {
  Quantized file;
  file.output(file.network.add_matmul(file.x, file.weight(), "product"));
  EXPECT_FALSE(says_eight_bits(file.network));  // the weights alone
  const ValueId floats = file.numbers({1, 2, 3, 4});
  file.network.add_output("z", file.pair(floats, file.number(0.5f), file.zero<uint8_t>(0)));
  EXPECT_FALSE(says_eight_bits(file.network));
  file.network.add_output("w", file.pair(file.x, file.number(0.5f), file.zero<uint8_t>(0)));
  EXPECT_TRUE(says_eight_bits(file.network));
}

}  // namespace
}  // namespace bertie
