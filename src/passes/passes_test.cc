// What each pass does to a network, by its printed form; that it changes no value is tested over backends in tests/conformance.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/message_of_test.h"
#include "network/eight_bit_linear.h"
#include "passes/layer_test.h"
#include "quant/int8.h"

namespace bertie {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const PassReport& report(const std::vector<PassReport>& reports, std::string_view name) {
  return *std::find_if(reports.begin(), reports.end(), [&](const PassReport& r) { return r.name == name; });
}

TEST(PassesTest, ALayerBecomesTheFusedPlan) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_passes(layer.network, {});
  EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "linear", "attention", "linear", "skip_layer_norm", "linear",
                                       "linear", "skip_layer_norm"));
  EXPECT_THAT(layer.network.to_string(), HasSubstr("activation=gelu -> f32 [tokens, 16]"));
  EXPECT_THAT(layer.network.consumers(layer.mask), testing::IsEmpty());
}

TEST(PassesTest, BesideLayersInInt8FloatsAreAsTheDeviceKeepsThem) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_passes(layer.network, {.precision = "int8", .float_precision = "fp16"});
  EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "int8_linear", "attention", "int8_linear", "skip_layer_norm",
                                       "int8_linear", "int8_linear", "skip_layer_norm"));
  for (NodeId id : layer.network.order()) EXPECT_EQ(layer.network.node(id).text("precision", "fp32"), "fp16");
}

TEST(PassesTest, InInt8LinearLayersReadRowsThatTheOpBeforeQuantised) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_passes(layer.network, {.precision = "int8"});
  EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "int8_linear", "attention", "int8_linear", "skip_layer_norm",
                                       "int8_linear", "int8_linear", "skip_layer_norm"));
  std::vector<std::string> modes;
  for (NodeId id : layer.network.order()) modes.push_back(layer.network.node(id).text("quantize_output", "none"));
  EXPECT_THAT(modes, ElementsAre("both", "none", "rows", "none", "both", "rows", "none", "none"));
  // Weight rows [start + 4r, ... + 3] of "output": the last is its row's largest magnitude.
  const NodeId last = layer.network.order()[6];
  const Value &values = layer.network.value(layer.network.node(last).input(2)),
              &scales = layer.network.value(layer.network.node(last).input(3));
  EXPECT_EQ(values.dtype, DType::i8);
  for (int64_t row = 0; row < 4; ++row) {
    const float largest = uneven(layer.first - 1 + static_cast<float>(16 * row + 15));
    EXPECT_EQ(scales.constant->view().as<float>()[row], largest / 127.0f);
    EXPECT_EQ(values.constant->view().as<int8_t>()[16 * row + 15], 127);
  }
}

// Of layer "output": one wide channel, all of one mean.
TensorCalibration output_calibration(size_t columns) {
  TensorCalibration layer;
  layer.scale = 0.5f;
  layer.migration.assign(columns, 1.0f);
  layer.shift.assign(columns, 0.0f);
  layer.mean.assign(columns, 3.0f);
  layer.migration[15] = 4.0f;
  return layer;
}

TEST(PassesTest, ACalibrationFixesTheScalesOfWhatItNames) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  Calibration calibration;
  TensorCalibration& output = calibration.layers["output"] = output_calibration(16);
  output.shift[1] = 8.0f;
  calibration.layers["projection"].scale = 0.25f;
  const auto reports = run_passes(layer.network, {.precision = "int8", .calibration = &calibration});
  EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "int8_linear", "attention", "int8_linear", "skip_layer_norm",
                                       "int8_linear", "int8_linear", "skip_layer_norm"));
  std::vector<std::string> modes;
  for (NodeId id : layer.network.order()) modes.push_back(layer.network.node(id).text("quantize_output", "none"));
  EXPECT_THAT(modes, ElementsAre("both", "none", "fixed", "none", "both", "fixed", "none", "none"));
  EXPECT_THAT(report(reports, "quantize_linear_layers").lines,
              testing::Contains(HasSubstr("refused: intermediate: the calibration has no such layer")));

  const Node& gelu = layer.network.node(layer.network.order()[5]);
  const TensorView quantization = constant_of(layer.network, gelu, 6);
  ASSERT_EQ(quantization.shape, (Shape{2, 16}));
  EXPECT_EQ(quantization.as<float>()[0], 2.0f);         // 1 / scale
  EXPECT_EQ(quantization.as<float>()[15], 0.5f);        // 1 / (scale * 4)
  EXPECT_EQ(quantization.as<float>()[16 + 1], -16.0f);  // - 8 / scale
  EXPECT_EQ(quantization.as<float>()[16], 0.0f);

  const Node& last = layer.network.node(layer.network.order()[6]);
  EXPECT_EQ(constant_of(layer.network, last, 1).as<float>()[0], 0.5f);
  for (int64_t row = 0; row < 4; ++row) {
    std::array<double, 16> w{};  // as `linear` draws them
    for (size_t i = 0; i < 16; ++i) w[i] = uneven(layer.first - 1 + static_cast<float>(16 * row) + static_cast<float>(i));
    const float scale = constant_of(layer.network, last, 3).as<float>()[row];
    EXPECT_EQ(scale, static_cast<float>(4 * w[15]) / 127.0f);
    double bias = layer.first - 1 + static_cast<double>(row) + 8 * w[1];
    for (size_t i = 0; i < 16; ++i) {
      const double migration = i == 15 ? 4 : 1;
      const int8_t value = constant_of(layer.network, last, 2).as<int8_t>()[16 * row + static_cast<int64_t>(i)];
      EXPECT_EQ(value, to_int8(static_cast<float>(migration * w[i]), static_cast<float>(4 * w[15])));
      bias += (w[i] - value * static_cast<double>(scale) / migration) * (3 - (i == 1 ? 8 : 0));
    }
    EXPECT_EQ(constant_of(layer.network, last, 4).as<float>()[row], static_cast<float>(bias));
  }

  calibration.layers["output"].mean.resize(15);
  Layer other;
  other.network.add_output("last_hidden_state", other.hidden);
  EXPECT_THAT(message_of([&] { run_passes(other.network, {.precision = "int8", .calibration = &calibration}); }),
              HasSubstr("calibration of layer 'output': it is of 15 columns; the layer has 16"));
}

// Powers of two under which what the weights allow has its place.
TEST(PassesTest, InFp8ScalesAreFixedByTheWeights) {
  Layer layer(16);
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_passes(layer.network, in_fp8());
  EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "fp8_linear", "attention", "fp8_linear", "skip_layer_norm",
                                       "fp8_linear", "fp8_linear", "skip_layer_norm"));
  std::vector<std::string> modes;
  const auto order = layer.network.order();
  for (NodeId id : order) {
    const Node& node = layer.network.node(id);
    modes.push_back(node.text("quantize_output", "none") + " " + node.text("quantize_element", "int8"));
    EXPECT_EQ(node.text("precision", "fp32"), "fp16");
  }
  EXPECT_THAT(modes, ElementsAre("fixed_both e4m3", "none int8", "fixed e4m3", "none int8", "fixed_both e4m3", "fixed e4m3",
                                 "none int8", "none int8"));
  const auto expect_scale = [&](size_t step, double bound) {
    const double scale = constant_of(layer.network, layer.network.node(order[step]), 1).as<float>()[0];
    EXPECT_GE(scale * 448, 1.125 * bound) << step;
    EXPECT_LT(scale * 224, 1.125 * bound) << step;
    EXPECT_EQ(std::exp2(std::round(std::log2(scale))), scale) << step;
  };
  // gamma and beta are 1 to 16: of a row of 16 deviations over their root mean square none is above 4, nor is their root of squares.
  expect_scale(5, 4 * 16 + 16);
  const TensorView quantization = constant_of(layer.network, layer.network.node(order[4]), 4);
  ASSERT_EQ(quantization.shape, (Shape{2, 16}));
  EXPECT_EQ(quantization.as<float>()[15], 4.0f);
  EXPECT_EQ(quantization.as<float>()[16], 0.0f);
  // The last row of a weight [rows, 16] of numbers from `start` on is the largest.
  const auto product = [](double start, double rows) {
    double squares = 0, centre = start + rows - 1;
    for (int k = 0; k < 16; ++k) {
      const double w = start + 16 * (rows - 1) + k;
      squares += w * (k + 1) * w * (k + 1);
      centre += w * (k + 1);
    }
    return 4 * std::sqrt(squares) + centre;
  };
  expect_scale(6, product(layer.first - 2, 64));  // GELU is within its argument
  expect_scale(3, product(layer.first - 4, 16));  // attention gives means of "value"
  // Weights by output channel.
  const Node& intermediate = layer.network.node(order[5]);
  const TensorView weight = constant_of(layer.network, intermediate, 2);
  EXPECT_EQ(weight.dtype, DType::u8);
  const float least = uneven(layer.first - 2 + 15) / 448.0f;  // which of up to twice that: quantize_linear_layers_test.cc
  EXPECT_GE(constant_of(layer.network, intermediate, 3).as<float>()[0], least);
  EXPECT_LT(constant_of(layer.network, intermediate, 3).as<float>()[0], 2 * least);
}

// Nothing is known of a network's input: its rows have their own scales.
TEST(PassesTest, InFp8RowsOfUnknownSizeHaveTheirOwnScales) {
  Network network;
  const ValueId x = network.add_input("x", DType::f32, {"tokens", 16});
  const ValueId y = network.add_linear(x, network.add_constant("w", constant({16, 16})), kNone, "first");
  network.add_output("y", network.add_linear(y, network.add_constant("v", constant({16, 16}, 1)), kNone, "second"));
  run_passes(network, in_fp8());
  std::vector<std::string> nodes;
  for (NodeId id : network.order()) nodes.push_back(network.node(id).op + " " + network.node(id).text("quantize_output", "none"));
  EXPECT_THAT(nodes, ElementsAre("quantize_rows none", "fp8_linear rows", "fp8_linear none"));
}

// Rows that stay padded for another reader are no larger where they are packed.
TEST(PassesTest, InFp8PackedRowsAreBoundedAsThePaddedAre) {
  Layer layer(16);
  Network& network = layer.network;
  const int64_t sequence = 1;
  network.add_output("sums", network.add_reduce("sum", layer.hidden, {&sequence, 1}, false));
  network.add_output("y", layer.linear(layer.hidden, 16, "head"));
  run_passes(network, in_fp8());
  const auto order = network.order();
  const auto head = std::find_if(order.begin(), order.end(), [&](NodeId id) { return network.node(id).name == "head"; });
  ASSERT_NE(head, order.end());
  const Node* quantize = producer(network, network.node(*head).input(kLinearX));
  ASSERT_EQ(quantize->op, "quantize_rows");
  EXPECT_EQ(producer(network, quantize->input(0))->op, "pack_rows");
  EXPECT_NE(quantize->input(1), kNone);
}

TEST(PassesTest, InFp8ChannelsAreMovedToTheirMean) {
  Layer layer(16);
  layer.network.add_output("last_hidden_state", layer.hidden);
  Calibration calibration;
  TensorCalibration& output = calibration.layers["output"] = output_calibration(64);
  output.shift[15] = -7.0f;
  PassOptions options = in_fp8();
  options.calibration = &calibration;
  run_passes(layer.network, options);
  const auto order = layer.network.order();
  const Node &gelu = layer.network.node(order[5]), &last = layer.network.node(order[6]);
  // Channel 15 was held within -7 +- 127 * 0.5 * 4, which is 264 about the mean.
  EXPECT_EQ(constant_of(layer.network, last, 1).as<float>()[0], 1.0f);
  const TensorView quantization = constant_of(layer.network, gelu, 6);
  for (int k = 0; k < 64; ++k) {
    EXPECT_EQ(quantization.as<float>()[k], 1.0f);
    EXPECT_EQ(quantization.as<float>()[64 + k], -3.0f);
  }
  for (int64_t row = 0; row < 16; ++row) {
    double bias = layer.first - 1 + static_cast<double>(row);
    for (int64_t i = 0; i < 64; ++i) bias += 3.0 * uneven(layer.first - 1 + static_cast<float>(64 * row + i));
    EXPECT_EQ(constant_of(layer.network, last, 4).as<float>()[row], static_cast<float>(bias));
  }
  EXPECT_EQ(layer.network.node(order[2]).text("quantize_output", "none"), "fixed");  // not named: by the weights
}

TEST(PassesTest, ShapesThatFp8ProductsDoNotTakeStayAsTheFloatsAre) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  const auto reports = run_passes(layer.network, in_fp8());
  EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "linear", "attention", "linear", "skip_layer_norm", "linear",
                                       "linear", "skip_layer_norm"));
  EXPECT_THAT(report(reports, "assign_precision").lines,
              testing::Contains(HasSubstr("projection: its weight is [4, 4]: products in fp8 are of multiples of 16")));
  for (NodeId id : layer.network.order()) EXPECT_EQ(layer.network.node(id).text("precision", "fp32"), "fp16");
}

// What an engine file holds ends in the plan of the network that it was made from.
TEST(PassesTest, EightBitsThatAreHeldEndInTheSamePlan) {
  const auto plan = [](const PassOptions& options, bool held) {
    Layer layer(16);
    layer.network.add_output("last_hidden_state", layer.hidden);
    PassOptions of_run = options;
    of_run.select_rows = {"last_hidden_state"};
    if (held) {
      run_logical_passes(layer.network, {});
      EXPECT_EQ(hold_precisions(layer.network, options), 3u);
      of_run.layer_precision.clear();
    }
    run_passes(layer.network, of_run);
    std::vector<std::string> nodes;
    for (NodeId id : layer.network.order()) {
      const Node& node = layer.network.node(id);
      nodes.push_back(node.op + " " + node.text("quantize_output", "none") + " " + node.text("precision", "fp32"));
      if (is_eight_bit_linear(node) && layer.network.value(node.input(kLinearXScale)).constant)
        nodes.back() += fmt::format(" {}", constant_of(layer.network, node, kLinearXScale).as<float>()[0]);
    }
    return nodes;
  };
  for (const char* between : {"fp32", "fp16"}) {
    for (const char* precision : {"int8", "fp8"}) {
      const PassOptions options = {.precision = precision,
                                   .layer_precision = {{"intermediate", "fp32"}},
                                   .linear_only = {"int8", "fp8"},
                                   .float_precision = between};
      EXPECT_EQ(plan(options, true), plan(options, false)) << precision << " " << between;
    }
  }
}

TEST(PassesTest, OtherLayersAreKeptInFloat32OnlyBesideEightBits) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_logical_passes(layer.network, {});
  EXPECT_EQ(hold_precisions(layer.network, {.layer_precision = {{"output", "fp32"}}}), 0u);
  run_passes(layer.network, {.precision = "int8"});
  const auto ops = layer.ops();
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "int8_linear"), 4);
}

// The same for bfloat16, where it is for linear layers alone: elsewhere the run says.

TEST(PassesTest, LayersInBfloat16AreHeldAsSuch) {
  const std::vector<std::string> linear_only = {"int8", "bf16"};
  for (const auto& of : {std::pair{linear_only, 3u}, {std::vector<std::string>{"int8"}, 0u}}) {
    const auto& precisions = of.first;
    const unsigned held = of.second;
    Layer layer;
    layer.network.add_output("last_hidden_state", layer.hidden);
    run_logical_passes(layer.network, {});
    EXPECT_EQ(
        hold_precisions(layer.network, {.precision = "bf16", .layer_precision = {{"output", "fp32"}}, .linear_only = precisions}),
        held);
    run_passes(layer.network, {.linear_only = precisions});
    size_t in_bf16 = 0;
    for (NodeId id : layer.network.order()) {
      const Node& node = layer.network.node(id);
      if (node.text("precision", "fp32") != "bf16") continue;
      ++in_bf16;
      EXPECT_EQ(node.op, "linear");
      EXPECT_NE(node.name, "output");
    }
    EXPECT_EQ(in_bf16, held);
    if (held == 0) continue;
    EXPECT_THAT(message_of([&] {
                  run_passes(layer.network, {.layer_precision = {{"intermediate", "fp32"}}, .linear_only = precisions});
                }),
                HasSubstr("its weight is held in bfloat16"));
  }
}

TEST(PassesTest, LayersInFp8AreHeldWithTheScalesThatTheWeightsAllow) {
  Layer layer(16);
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_logical_passes(layer.network, {});
  const PassOptions options = {.layer_precision = {{"output", "fp8"}}, .linear_only = {"int8", "fp8"}};
  EXPECT_EQ(hold_precisions(layer.network, options), 1u);
  const auto order = layer.network.order();
  const auto at = std::find_if(order.begin(), order.end(), [&](NodeId id) { return layer.network.node(id).op == "fp8_linear"; });
  ASSERT_NE(at, order.end());
  EXPECT_EQ(layer.network.node(*at).name, "output");
  const Node& quantize = layer.network.node(layer.network.value(layer.network.node(*at).input(kLinearX)).producer);
  EXPECT_EQ(quantize.op, "quantize_rows");
  EXPECT_EQ(constant_of(layer.network, quantize, 1).shape, (Shape{2, 64}));
  for (const NodeId id : order) {
    const Node& node = layer.network.node(id);
    if (node.op == "linear") {
      EXPECT_EQ(node.text("precision"), "fp32") << node.name;
    }
  }
  EXPECT_EQ(hold_precisions(layer.network, options), 1u);  // a file that is built again
  EXPECT_THAT(message_of([&] {
                run_passes(layer.network, {.layer_precision = {{"output", "int8"}}, .linear_only = options.linear_only});
              }),
              HasSubstr("fp8_linear 'output': its weight is held in fp8"));
}

// A device without it leaves them in floats; building the engine refuses the precision.
TEST(PassesTest, LayersInFp8AreNotHeldForADeviceWithoutIt) {
  Layer layer(16);
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_logical_passes(layer.network, {});
  EXPECT_EQ(hold_precisions(layer.network, {.precision = "fp8"}), 0u);
  EXPECT_THAT(layer.ops(), testing::Not(testing::Contains("fp8_linear")));
}

// Of the layer's four linear nodes the intermediate one alone feeds a linear node, and nothing else.
TEST(PassesTest, RowsBetweenLinearLayersInBfloat16StayInIt) {
  const auto kept = [](const PassOptions& options, bool read_elsewhere, bool output) {
    Layer layer;
    layer.network.add_output("last_hidden_state", layer.hidden);
    run_logical_passes(layer.network, {});
    ValueId wide = kNone;
    for (NodeId id : layer.network.order()) {
      if (layer.network.node(id).name == "intermediate") wide = layer.network.node(id).outputs[0];
    }
    if (output) layer.network.add_output("wide", wide);
    if (read_elsewhere) layer.network.add_output("doubled", layer.network.add_elementwise("add", wide, wide));
    run_passes(layer.network, options);
    std::vector<std::string> names;
    for (NodeId id : layer.network.order()) {
      if (layer.network.node(id).text("rows") == "bf16") names.push_back(layer.network.node(id).name);
    }
    return names;
  };
  const PassOptions bf16 = {.precision = "bf16", .linear_only = {"int8", "bf16"}};
  EXPECT_THAT(kept(bf16, false, false), ElementsAre("intermediate"));
  EXPECT_THAT(kept(bf16, true, false), ElementsAre());
  EXPECT_THAT(kept(bf16, false, true), ElementsAre());
  EXPECT_THAT(kept({.precision = "fp32", .linear_only = bf16.linear_only}, false, false), ElementsAre());
  EXPECT_THAT(kept({.precision = "bf16"}, false, false), ElementsAre());  // a device that keeps all rows as it likes
  PassOptions reader = bf16;
  reader.layer_precision = {{"output", "fp32"}};
  EXPECT_THAT(kept(reader, false, false), ElementsAre());
}

TEST(PassesTest, InInt8AnEmbeddingsTableStaysAsItIs) {
  Layer layer;
  const ValueId decoder =
      layer.network.add_linear(layer.linear(layer.hidden, 4, "transform"), layer.word_table, kNone, "decoder");
  layer.network.add_output("logits", decoder);
  const auto reports = run_passes(layer.network, {.precision = "int8"});
  EXPECT_THAT(report(reports, "assign_precision").lines, testing::Contains(HasSubstr("refused: decoder")));
  const auto ops = layer.ops();
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "linear"), 1);
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "int8_linear"), 5);

  Layer named;
  named.network.add_output("logits", named.network.add_linear(named.hidden, named.word_table, kNone, "decoder"));
  EXPECT_THAT(message_of([&] {
                run_passes(named.network, {.layer_precision = {{"decoder", "int8"}}});
              }),
              HasSubstr("linear 'decoder': its weight is an embedding's table too"));
}

TEST(PassesTest, LayersByNameAreComputedOtherwise) {
  const auto precisions = [](PassOptions options) {
    Layer layer;
    layer.network.add_output("last_hidden_state", layer.hidden);
    options.disabled = {"quantize_linear_layers"};
    run_passes(layer.network, options);
    std::vector<std::string> found;
    for (NodeId id : layer.network.order()) {
      const Node& node = layer.network.node(id);
      if (node.op == "linear" || node.text("precision", "fp32") != "fp32")
        found.push_back(node.name + " " + node.text("precision", "fp32"));
    }
    return found;
  };
  EXPECT_THAT(precisions({.layer_precision = {{"out*", "int8"}}}),
              ElementsAre("attention.qkv fp32", "projection fp32", "intermediate fp32", "output int8"));
  EXPECT_THAT(
      precisions({.precision = "int8", .layer_precision = {{"*", "fp32"}, {"attention.?kv", "int8"}, {"intermediate", "int8"}}}),
      ElementsAre("attention.qkv int8", "projection fp32", "intermediate int8", "output fp32"));
  EXPECT_THAT(precisions({.precision = "int8", .layer_precision = {{"intermediate", "int8"}, {"inter*", "fp32"}}}),
              ElementsAre("attention.qkv int8", "projection int8", "intermediate fp32", "output int8"));
  EXPECT_THAT(precisions({.layer_precision = {{"norm2*", "fp16"}, {"output", "bf16"}}}),
              ElementsAre("attention.qkv fp32", "projection fp32", "intermediate fp32", "output bf16", "norm2.skip fp16"));
  // Every step of a network in 16 bits has its precision, but for those named otherwise.
  EXPECT_THAT(precisions({.precision = "fp16", .layer_precision = {{"norm2*", "fp32"}, {"projection", "fp32"}}}),
              ElementsAre("embedding_norm.embedding fp16", "attention.qkv fp16", "attention fp16", "projection fp32",
                          "norm1.skip fp16", "intermediate fp16", "output fp16"));
  // Attention is in eight bits where it is named.
  EXPECT_THAT(precisions({.layer_precision = {{"attention", "int8"}}}),
              ElementsAre("attention.qkv fp32", "attention int8", "projection fp32", "intermediate fp32", "output fp32"));
  EXPECT_THAT(precisions({.precision = "int8", .layer_precision = {{"*", "int8"}, {"attention", "fp32"}}}),
              ElementsAre("attention.qkv int8", "projection int8", "intermediate int8", "output int8"));
  const auto message = [&](const LayerPrecision& layers) {
    return message_of([&] { precisions({.precision = "int8", .layer_precision = {{"*", "fp32"}, layers}}); });
  };
  EXPECT_THAT(message({"key", "fp32"}), HasSubstr("layer precision 'key=fp32': no step"));
  EXPECT_THAT(message({"norm?.skip", "int8"}), HasSubstr("skip_layer_norm 'norm1.skip': it is no linear layer"));
}

TEST(PassesTest, AnEngineFileKeepsAttentionInEightBits) {
  for (const char* precision : {"int8", "fp32"}) {
    Layer layer;
    layer.network.add_output("last_hidden_state", layer.hidden);
    const PassOptions options = {.precision = "int8", .layer_precision = {{"attention", precision}}};
    run_logical_passes(layer.network, options);
    EXPECT_EQ(hold_precisions(layer.network, options), 4u);
    const auto attention = [&] {
      for (NodeId id : layer.network.order())
        if (layer.network.node(id).op == "attention") return layer.network.node(id).text("precision", "fp32");
      return std::string("none");
    };
    EXPECT_EQ(attention(), precision);
    run_passes(layer.network, {});  // as the file's engine does
    EXPECT_EQ(attention(), precision);
  }
}

TEST(PassesTest, BetweenInt8LayersFloatsAreReadWhereALayerIsInFloat) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_passes(layer.network, {.precision = "int8", .layer_precision = {{"intermediate", "fp32"}}});
  EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "int8_linear", "attention", "int8_linear", "skip_layer_norm",
                                       "linear", "quantize_rows", "int8_linear", "skip_layer_norm"));
}

TEST(LayerPrecisionTest, PatternsAreGlobs) {
  for (const auto& [pattern, name] : std::vector<std::pair<std::string, std::string>>{{"*", ""},
                                                                                      {"a", "a"},
                                                                                      {"a*", "a"},
                                                                                      {"*a", "bca"},
                                                                                      {"a*b*c", "abbcbc"},
                                                                                      {"?", "x"},
                                                                                      {"**x?", "abxxy"},
                                                                                      {"a.*.b", "a.1.b"}})
    EXPECT_TRUE(matches_glob(pattern, name)) << pattern << " " << name;
  for (const auto& [pattern, name] : std::vector<std::pair<std::string, std::string>>{
           {"?", ""}, {"a", "ab"}, {"b", "ab"}, {"a.b", "axb"}, {"a*b", "abc"}, {"*??", "x"}, {"", "x"}, {"a*b*c", "acb"}})
    EXPECT_FALSE(matches_glob(pattern, name)) << pattern << " " << name;
}

TEST(LayerPrecisionTest, IsPatternAndPrecision) {
  const LayerPrecision layers = parse_layer_precision("a=b*=int8");
  EXPECT_EQ(layers.pattern, "a=b*");
  EXPECT_EQ(layers.precision, "int8");
  for (const char* text : {"", "=", "a", "a=", "=int8"})
    EXPECT_THAT(message_of([&] { parse_layer_precision(text); }), HasSubstr("it is PATTERN=P")) << text;
}

TEST(PassesTest, MergedWeightsAreStackedInOrder) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  run_passes(layer.network, {});
  for (NodeId id : layer.network.order()) {
    const Node& node = layer.network.node(id);
    if (node.op != "attention") continue;
    EXPECT_EQ(node.integer("packed_qkv"), 1);
    const Node* qkv = producer(layer.network, node.input(0));
    const Tensor& weight = *layer.network.value(qkv->input(1)).constant;
    EXPECT_EQ(weight.shape, (Shape{12, 4}));
    for (int64_t i = 0; i < 48; ++i) EXPECT_EQ(weight.view().as<float>()[i], uneven(static_cast<float>(i / 16 + i % 16)));
  }
}

TEST(PassesTest, RowSelectionReachesTheLastAttention) {
  Layer layer;
  const ValueId head =
      layer.linear(layer.network.add_layer_norm(layer.network.add_gelu(layer.linear(layer.hidden, 4, "transform")), layer.gamma,
                                                layer.gamma, 1e-12),
                   9, "decoder");
  layer.network.add_output("logits", head);
  run_passes(layer.network, {.select_rows = {"logits"}});
  EXPECT_EQ(to_string(layer.network.value(layer.network.outputs()[0].value).shape), "[rows, 9]");
  int on_tokens = 0;
  for (NodeId id : layer.network.order())
    on_tokens += layer.network.value(layer.network.node(id).outputs[0]).shape[0] == Dim("tokens");
  EXPECT_EQ(on_tokens, 2);  // the embedding and the QKV product
}

TEST(PassesTest, RowSelectionStopsWhereAllRowsAreWanted) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  layer.network.add_output("logits", layer.linear(layer.hidden, 9, "decoder"));
  run_passes(layer.network, {.select_rows = {"logits"}});
  EXPECT_EQ(to_string(layer.network.value(layer.network.outputs()[0].value).shape), "[tokens, 4]");
  EXPECT_EQ(to_string(layer.network.value(layer.network.outputs()[1].value).shape), "[rows, 9]");
}

TEST(PassesTest, AClsPoolIsASelectionOfFirstRows) {
  Layer layer;
  layer.network.add_output("logits", layer.linear(layer.network.add_pool(layer.hidden, layer.mask, "cls"), 3, "classifier"));
  run_passes(layer.network, {});
  const auto ops = layer.ops();
  EXPECT_EQ(std::count(ops.begin(), ops.end(), "pool"), 0);
  EXPECT_THAT(layer.network.to_string(), HasSubstr("first_rows"));
  EXPECT_EQ(to_string(layer.network.value(layer.network.outputs()[0].value).shape), "[batch, 3]");
}

TEST(PassesTest, AMeanPoolKeepsAllRows) {
  Layer layer;
  layer.network.add_output("sentence_embedding", layer.network.add_pool(layer.hidden, layer.mask, "mean"));
  run_passes(layer.network, {});
  EXPECT_EQ(layer.ops().back(), "pool");
}

TEST(PassesTest, PaddingStaysWhereAnOpReadsPaddedRows) {
  Layer layer;
  layer.network.add_output("pooled", layer.network.add_pool(layer.hidden, kNone, "mean"));
  const auto reports = run_passes(layer.network, {});
  EXPECT_EQ(report(reports, "remove_padding").matches, 0);
  EXPECT_THAT(report(reports, "remove_padding").lines[0], HasSubstr("it has no mask"));
}

TEST(PassesTest, AProductReadTwiceIsNotMerged) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  for (NodeId id : layer.network.order()) {
    const Node& node = layer.network.node(id);
    if (node.name == "key") {
      layer.network.add_output("keys", node.outputs[0]);
      break;
    }
  }
  const auto reports = run_passes(layer.network, {});
  EXPECT_EQ(report(reports, "merge_qkv").matches, 0);
  EXPECT_THAT(report(reports, "merge_qkv").lines[0], HasSubstr("read elsewhere"));
}

TEST(PassesTest, EachCanBeDisabledAndAnUnknownNameIsAnError) {
  for (const Pass& pass : all_passes()) {
    Layer layer;
    layer.network.add_output("last_hidden_state", layer.hidden);
    const auto reports = run_passes(layer.network, {.disabled = {std::string(pass.name)}});
    EXPECT_EQ(reports.size() + 1, all_passes().size()) << pass.name;
  }
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  EXPECT_THROW(run_passes(layer.network, {.disabled = {"fuse_everything"}}), Error);
}

}  // namespace
}  // namespace bertie
