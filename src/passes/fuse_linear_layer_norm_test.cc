// Which linear layers `fuse_linear_layer_norm` takes into the layer norm behind them, and what other passes know of the op.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "passes/layer_test.h"

namespace bertie {
namespace {

using testing::ElementsAre;

bool fuses_all(int64_t, int64_t) { return true; }

std::vector<std::string> ops_with(const PassOptions& options, const std::function<void(Layer&)>& change = {}) {
  Layer layer;
  layer.network.add_output("last_hidden_state", layer.hidden);
  if (change) change(layer);
  run_passes(layer.network, options);
  return layer.ops();
}

constexpr const char* kFusedOp = "linear_skip_layer_norm";

TEST(FuseLinearLayerNorm, ALinearLayerBeforeALayerNormBecomesOneWithIt) {
  for (const char* precision : {"fp16", "bf16"}) {
    Layer layer;
    layer.network.add_output("last_hidden_state", layer.hidden);
    std::vector<std::pair<int64_t, int64_t>> asked;
    const auto fuses = [&](int64_t columns, int64_t depth_bytes) {
      asked.emplace_back(columns, depth_bytes);
      return true;
    };
    run_passes(layer.network, {.precision = precision, .fuses_linear_layer_norm = fuses});
    EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "linear", "attention", kFusedOp, "linear", kFusedOp));
    EXPECT_THAT(asked, ElementsAre(std::pair(4, 8), std::pair(4, 32)));
    const Node& fused = layer.network.node(layer.network.order()[3]);
    EXPECT_EQ(fused.text("precision", "fp32"), precision);
    EXPECT_EQ(fused.real("epsilon"), 1e-12);
    EXPECT_EQ(fused.name, "norm1.skip");
    EXPECT_EQ(layer.network.value(fused.input(4)).name, "projection.bias");
    EXPECT_EQ(layer.network.value(fused.input(6)).name, "gamma");
  }
}

TEST(FuseLinearLayerNorm, ALinearLayerStaysBesideALayerNorm) {
  const auto fused = [](const PassOptions& options, const std::function<void(Layer&)>& change = {}) {
    const std::vector<std::string> ops = ops_with(options, change);
    return std::count(ops.begin(), ops.end(), kFusedOp);
  };
  const PassOptions options{.precision = "fp16", .fuses_linear_layer_norm = fuses_all};
  EXPECT_EQ(fused({.precision = "fp16"}), 0) << "no kernels";
  EXPECT_EQ(fused({.fuses_linear_layer_norm = fuses_all}), 0) << "in fp32";
  EXPECT_EQ(fused({.precision = "tf32", .fuses_linear_layer_norm = fuses_all}), 0);
  EXPECT_EQ(fused({.precision = "fp16", .fuses_linear_layer_norm = [](int64_t, int64_t depth) { return depth == 32; }}), 1);
  EXPECT_EQ(fused({.precision = "fp16", .layer_precision = {{"projection", "fp32"}}, .fuses_linear_layer_norm = fuses_all}), 1);
  const auto product = [](Layer& layer, std::string_view name) {
    for (NodeId id : layer.network.order())
      if (layer.network.node(id).name == name) return layer.network.node(id).outputs[0];
    return kNone;
  };
  EXPECT_EQ(fused(options, [&](Layer& layer) { layer.network.add_output("read_too", product(layer, "projection")); }), 1);
  EXPECT_EQ(fused(options,
                  [&](Layer& layer) {
                    const NodeId id = layer.network.value(product(layer, "output")).producer;
                    layer.network.mutable_node(id).attributes["activation"] = std::string("relu");
                  }),
            1);
}

TEST(FuseLinearLayerNorm, EightBitLayersBeforeLayerNormsTooWhereScalesAreFixed) {
  Layer layer(16);
  layer.network.add_output("last_hidden_state", layer.hidden);
  PassOptions options = in_fp8();
  options.fuses_linear_layer_norm = fuses_all;
  run_passes(layer.network, options);
  EXPECT_THAT(layer.ops(), ElementsAre("embedding_layer_norm", "fp8_linear", "attention", kFusedOp, "fp8_linear", kFusedOp));
  const Node& first = layer.network.node(layer.network.order()[3]);
  EXPECT_EQ(first.text("quantize_output", "none") + " " + first.text("quantize_element", "int8"), "fixed_both e4m3");
  EXPECT_EQ(first.text("precision", "fp32"), "fp16");
  EXPECT_EQ(constant_of(layer.network, first, 8).shape, (Shape{2, 16}));
  // The first norm's rows have scales of their own.
  EXPECT_THAT(
      ops_with({.precision = "int8", .float_precision = "fp16", .fuses_linear_layer_norm = fuses_all}),
      ElementsAre("embedding_layer_norm", "int8_linear", "attention", "int8_linear", "skip_layer_norm", "int8_linear", kFusedOp));
  Calibration calibration;
  calibration.layers["intermediate"].scale = 0.25f;
  const std::vector<std::string> ops = ops_with(
      {.precision = "int8", .calibration = &calibration, .float_precision = "fp16", .fuses_linear_layer_norm = fuses_all});
  EXPECT_EQ(std::count(ops.begin(), ops.end(), kFusedOp), 2);
}

// A layer with a linear layer and a layer norm in one node behind it, and a head.
Layer layer_with_fused(int64_t head_width) {
  Layer layer(16);
  const ValueId weight = layer.network.add_constant("fused.weight", weights({16, 16}, 3));
  const ValueId fused = layer.network.add_node(
      kFusedOp, {layer.hidden, kNone, weight, kNone, kNone, layer.hidden, layer.gamma, layer.gamma}, {{"epsilon", 1e-12}})[0];
  layer.network.add_output("logits", layer.linear(fused, head_width, "decoder"));
  return layer;
}

const Node& only(const Network& network, std::string_view op) {
  const auto order = network.order();
  return network.node(*std::find_if(order.begin(), order.end(), [&](NodeId id) { return network.node(id).op == op; }));
}

TEST(FuseLinearLayerNorm, RowsOfALayerNormWithItsLinearLayerArePackedAndSelected) {
  Layer packed = layer_with_fused(9);
  run_passes(packed.network, {});
  EXPECT_EQ(to_string(packed.network.value(only(packed.network, kFusedOp).outputs[0]).shape), "[tokens, 16]");
  Layer selected = layer_with_fused(9);
  run_passes(selected.network, {.select_rows = {"logits"}});
  EXPECT_EQ(to_string(selected.network.value(only(selected.network, kFusedOp).outputs[0]).shape), "[rows, 16]");
  EXPECT_EQ(to_string(selected.network.value(only(selected.network, "attention").outputs[0]).shape), "[rows, 16]");
}

TEST(FuseLinearLayerNorm, InFp8RowsOfALayerNormWithItsLinearLayerAreBound) {
  Layer layer = layer_with_fused(32);
  run_passes(layer.network, in_fp8());
  const Node& head = layer.network.node(layer.network.order().back());
  ASSERT_EQ(head.op, "fp8_linear");
  // gamma and beta are 1 to 16.
  const double scale = constant_of(layer.network, head, 1).as<float>()[0], bound = 1.125 * (4 * 16 + 16);
  EXPECT_GE(scale * 448, bound);
  EXPECT_LT(scale * 224, bound);
}

}  // namespace
}  // namespace bertie
