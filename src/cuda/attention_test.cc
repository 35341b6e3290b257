// Which kernel takes attention on which GPU, and what that in int8 is launched with, without a GPU.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numbers>

#include "cuda/fake_library_test.h"
#include "cuda/kernels/any_attention.h"
#include "cuda/kernels/convert.h"
#include "cuda/kernels/quantize_rows.h"

namespace bertie::cuda {
namespace {

using testing::HasSubstr;

std::vector<AnyAttentionParams> launched;  // in int8
std::vector<ConvertParams> converted;

std::shared_ptr<CudaDevice> device_of(int capability) {
  static const BertieCudaLauncher launchers[] = {
      fake_launcher<AnyAttentionParams>("any_attention"),
      fake_launcher<AnyAttentionParams>("fp8_attention"),
      fake_launcher<QuantizeRowsParams>("quantize_rows"),
      fake_launcher<AnyAttentionParams>("tf32_attention"),
      fake_launcher<AnyAttentionParams>("tile_attention"),
      fake_launcher<AnyAttentionParams>("wgmma_attention"),
      {"convert", sizeof(ConvertParams),
       [](const void* params, int32_t, void*) {
         converted.push_back(*static_cast<const ConvertParams*>(params));
         return 0;
       }},
      {"int8_attention", sizeof(AnyAttentionParams), [](const void* params, int32_t, void*) {
         launched.push_back(*static_cast<const AnyAttentionParams*>(params));
         return 0;
       }}};
  static const BertieCudaApi api = fake_api(launchers);
  fake_capability = capability;
  launched.clear();
  converted.clear();
  return CudaDevice::open(api, 0);
}

struct Layer {
  const char* precision = "int8";
  DType q = DType::f16, k = q;  // as they lie in memory
  int64_t head_dim = 64;
  double scale = 0.125;
  bool padded = false, packed_qkv = true, query_rows = false;
  const char* quantize_output = "none";
};

constexpr int64_t kHeads = 3;

Choice choose(const std::shared_ptr<CudaDevice>& device, const Layer& layer = {}) {
  Network network;
  const int64_t width = kHeads * layer.head_dim;
  const auto input = [&](const char* name, int64_t columns) {
    return layer.padded ? network.add_input(name, DType::f32, {"batch", "sequence", columns})
                        : network.add_input(name, DType::f32, {"tokens", columns});
  };
  const ValueId q = input("q", layer.packed_qkv ? 3 * width : width), k = layer.packed_qkv ? kNone : input("k", width),
                v = layer.packed_qkv ? kNone : input("v", width),
                rows = layer.query_rows ? network.add_input("rows", DType::i32, {"rows"}) : kNone;
  Attributes attributes = {{"heads", kHeads},
                           {"scale", layer.scale},
                           {"packed_qkv", int64_t{layer.packed_qkv}},
                           {"quantize_output", std::string(layer.quantize_output)}};
  const ValueId y = network.add_node("attention", {q, k, v, kNone, kNone, rows}, attributes, "layer")[0];
  network.mutable_node(network.value(y).producer).attributes["precision"] = std::string(layer.precision);
  std::vector<std::pair<ValueId, DType>> kept = {{q, layer.q}};
  for (const ValueId other : {k, v}) {
    if (other != kNone) kept.emplace_back(other, layer.k);
  }
  return choose_kernel(network, y, device, kept);
}

TEST(Attention, InEightBitsIsOneKernelsOnEveryGpu) {
  for (const int capability : {80, 86, 89, 90, 100, 120}) {
    const auto device = device_of(capability);
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
      for (const int64_t head_dim : {8, 32, 40, 64, 128}) {
        const Choice choice = choose(device, {.q = dtype, .head_dim = head_dim});
        EXPECT_EQ(choice.kernel, "cuda_int8_attention") << choice.refusals;
        EXPECT_EQ(choice.reason, "eight-bit products on matrix units, exact, softmax in f32");
        EXPECT_EQ(choice.step->stored(0, DType::f32), dtype);  // no conversions before it and behind it
        EXPECT_EQ(choice.step->query_block(), 128);
      }
    EXPECT_EQ(choose(device, {.query_rows = true}).kernel, "cuda_int8_attention");
    EXPECT_EQ(choose(device, {.packed_qkv = false}).kernel, "cuda_int8_attention");
    const Choice eight_bits = choose(device, {.quantize_output = "rows"});
    EXPECT_EQ(eight_bits.kernel, "cuda_int8_attention");
    EXPECT_EQ(eight_bits.step->stored(0, DType::i8), DType::i8);
  }
}

TEST(Attention, InFp8IsOneKernelsFromComputeCapability8_9On) {
  for (const int capability : {89, 90, 100, 120}) {
    const auto device = device_of(capability);
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
      for (const int64_t head_dim : {8, 64, 128}) {
        const Choice choice = choose(device, {.precision = "fp8", .q = dtype, .head_dim = head_dim});
        EXPECT_EQ(choice.kernel, "cuda_fp8_attention") << choice.refusals;
        EXPECT_EQ(choice.reason, "eight-bit products on matrix units, weights and values in e4m3, softmax in f32");
        EXPECT_EQ(choice.step->stored(0, DType::f32), dtype);
        EXPECT_EQ(choice.step->query_block(), 128);
      }
    EXPECT_EQ(choose(device, {.precision = "fp8", .query_rows = true}).kernel, "cuda_fp8_attention");
  }
  const std::string others = "no kernel in fp8; no kernel in fp8; no kernel in fp8; no kernel in fp8; ";
  EXPECT_EQ(choose(device_of(86), {.precision = "fp8"}).refusals, "no e4m3 in the device's matrix units; " + others);
  EXPECT_EQ(choose(device_of(90), {.precision = "fp8", .padded = true}).refusals, "q, k and v that run padded; " + others);
}

TEST(Attention, InFloatsIsTheOtherKernels) {
  for (const int capability : {80, 90, 120}) {
    const auto device = device_of(capability);
    EXPECT_EQ(choose(device, {.precision = "fp16"}).kernel, capability == 90 ? "cuda_wgmma_attention" : "cuda_tile_attention");
    EXPECT_EQ(choose(device, {.precision = "bf16", .query_rows = true}).kernel, "cuda_tile_attention");
    EXPECT_EQ(choose(device, {.precision = "fp32"}).kernel, "cuda_any_attention");
    EXPECT_EQ(choose(device, {.precision = "fp16", .padded = true}).kernel, "cuda_tile_attention");
  }
}

TEST(Attention, InTf32IsOnMatrixUnits) {
  for (const int capability : {80, 86, 89, 90, 100, 120})
    for (const int64_t head_dim : {32, 64, 128})
      for (const bool query_rows : {false, true}) {
        const Choice choice =
            choose(device_of(capability), {.precision = "tf32", .q = DType::f32, .head_dim = head_dim, .query_rows = query_rows});
        EXPECT_EQ(choice.kernel, "cuda_tf32_attention") << choice.refusals;
        EXPECT_EQ(choice.reason, "products of tf32 on matrix units, softmax in f32");
        EXPECT_THAT(choice.refusals, HasSubstr("q, k and v of f32"));
        EXPECT_EQ(choice.step->query_block(), head_dim == 128 ? 64 : 128);
      }
}

TEST(Attention, WhatMatrixUnitsDoNotTakeIsAnyAttentions) {
  const auto device = device_of(90);
  const Choice heads = choose(device, {.precision = "tf32", .q = DType::f32, .head_dim = 40}),
               padded = choose(device, {.precision = "tf32", .q = DType::f32, .padded = true}),
               fp32 = choose(device, {.precision = "fp32", .q = DType::f32});
  EXPECT_EQ(heads.kernel, "cuda_any_attention");
  EXPECT_THAT(heads.refusals, HasSubstr("heads of 40: 32, 64 or 128"));
  EXPECT_EQ(padded.kernel, "cuda_tf32_attention");
  EXPECT_EQ(fp32.kernel, "cuda_any_attention");
  EXPECT_THAT(fp32.refusals, HasSubstr("a precision other than tf32"));
}

// The engine then asks the CPU's kernels.
TEST(Attention, InEightBitsIsRefusedByName) {
  const auto device = device_of(90);
  const auto refusals = [&](const Layer& layer) {
    const Choice choice = choose(device, layer);
    EXPECT_EQ(choice.kernel, "");
    return choice.refusals;
  };
  const std::string others = "no kernel in int8; no kernel in int8; no kernel in int8; no kernel in int8; ";
  EXPECT_EQ(refusals({.padded = true}), "q, k and v that run padded; " + others);
  EXPECT_EQ(refusals({.head_dim = 20}), "heads of 20: multiples of 8 up to 128; " + others);
  EXPECT_EQ(refusals({.head_dim = 136}), "heads of 136: multiples of 8 up to 128; " + others);
  EXPECT_EQ(refusals({.scale = -0.1}), "a scale below 0; " + others);
}

TEST(Attention, InEightBitsIsLaunchedOverTilesWithTheDefinitionsFactor) {
  const auto device = device_of(80);
  const Choice choice = choose(device, {.q = DType::f16, .k = DType::f32, .scale = 0.3, .packed_qkv = false});
  ASSERT_TRUE(choice.step);
  constexpr int64_t kTokens = 5, kWidth = kHeads * 64;
  std::vector<uint16_t> q(kTokens * kWidth), y(kTokens * kWidth);
  std::vector<float> k(kTokens * kWidth), v(kTokens * kWidth);
  std::vector<std::byte> workspace(choice.step->workspace_bytes({kTokens, 1, kTokens, 0}, 1));
  const auto stream = std::static_pointer_cast<Device>(device)->make_stream();
  int32_t overflow = 0;
  const int32_t live = kTokens, tile_count = 1;
  const QueryTile tiles[2] = {};
  const DeviceBatch batch{*stream, &live, &live, &live, tiles, 2, &tile_count, &overflow, 4};
  const Shape shape = {kTokens, kWidth};
  const TensorView none;
  const TensorView inputs[] = {
      {q.data(), DType::f16, shape}, {k.data(), DType::f32, shape}, {v.data(), DType::f32, shape}, none, none, none};
  const MutableTensorView outputs[] = {{y.data(), DType::f16, shape}};
  ThreadPool pool(1);
  choice.step->run({inputs, outputs, PackedBatch{}, workspace, pool, &batch});
  ASSERT_EQ(converted.size(), 2u);  // k and v to q's
  ASSERT_EQ(launched.size(), 1u);
  const AnyAttentionParams& params = launched[0];
  EXPECT_EQ(params.element, Element::f16);
  EXPECT_EQ(params.q, q.data());
  EXPECT_EQ(params.k, converted[0].to);
  EXPECT_EQ(params.v, converted[1].to);
  EXPECT_EQ(params.y, y.data());
  EXPECT_EQ(params.quantized.values, nullptr);
  EXPECT_EQ(params.scale, static_cast<float>(0.3 * std::numbers::log2e));
  EXPECT_EQ(params.row_stride, kWidth);
  EXPECT_EQ(params.heads, kHeads);
  EXPECT_EQ(params.head_dim, 64);
  EXPECT_EQ(static_cast<const void*>(params.tiles), tiles);
  EXPECT_EQ(params.tile_capacity, 2);
  EXPECT_EQ(params.tile_count, &tile_count);
  EXPECT_EQ(params.overflow, &overflow);
  EXPECT_EQ(params.step, 4);
}

}  // namespace
}  // namespace bertie::cuda
