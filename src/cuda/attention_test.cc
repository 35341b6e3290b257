// Which kernel takes attention, by precision, heads and GPU, without a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/fake_library_test.h"
#include "cuda/kernels/any_attention.h"
#include "cuda/kernels/convert.h"
#include "cuda/kernels/quantize_rows.h"

namespace bertie::cuda {
namespace {

using testing::HasSubstr;

struct Layer {
  const char* precision = "tf32";
  int64_t head_dim = 64;
  bool padded = false, query_rows = false;
};

Choice choose(int capability, const Layer& layer = {}) {
  fake_capability = capability;
  static const BertieCudaLauncher launchers[] = {
      fake_launcher<AnyAttentionParams>("any_attention"),  fake_launcher<ConvertParams>("convert"),
      fake_launcher<QuantizeRowsParams>("quantize_rows"),  fake_launcher<AnyAttentionParams>("tf32_attention"),
      fake_launcher<AnyAttentionParams>("tile_attention"), fake_launcher<AnyAttentionParams>("wgmma_attention")};
  static const BertieCudaApi api = fake_api(launchers);
  constexpr int64_t kHeads = 3;
  const SymbolicShape rows = layer.padded ? SymbolicShape{"batch", "sequence", 3 * kHeads * layer.head_dim}
                                          : SymbolicShape{"tokens", 3 * kHeads * layer.head_dim};
  Network network;
  const ValueId qkv = network.add_input("qkv", DType::f32, rows),
                query_rows = layer.query_rows ? network.add_input("query_rows", DType::i32, {"rows"}) : kNone;
  const Attributes attributes = {{"heads", kHeads}, {"packed_qkv", int64_t{1}}, {"precision", std::string(layer.precision)}};
  const ValueId y = network.add_node("attention", {qkv, kNone, kNone, kNone, kNone, query_rows}, attributes, "layer")[0];
  return choose_kernel(network, y, CudaDevice::open(api, 0));
}

TEST(Attention, InTf32IsOnMatrixUnits) {
  for (const int capability : {80, 86, 89, 90, 100, 120})
    for (const int64_t head_dim : {32, 64, 128})
      for (const bool query_rows : {false, true}) {
        const Choice choice = choose(capability, {.head_dim = head_dim, .query_rows = query_rows});
        EXPECT_EQ(choice.kernel, "cuda_tf32_attention") << choice.refusals;
        EXPECT_EQ(choice.reason, "products of tf32 on matrix units, softmax in f32");
        EXPECT_THAT(choice.refusals, HasSubstr("q, k and v of f32"));
        EXPECT_EQ(choice.step->query_block(), head_dim == 128 ? 64 : 128);
      }
}

TEST(Attention, WhatMatrixUnitsDoNotTakeInTf32IsAnyAttentions) {
  const Choice heads = choose(90, {.head_dim = 40}), padded = choose(90, {.padded = true});
  EXPECT_EQ(heads.kernel, "cuda_any_attention");
  EXPECT_THAT(heads.refusals, HasSubstr("heads of 40: 32, 64 or 128"));
  EXPECT_EQ(padded.kernel, "cuda_any_attention");
  EXPECT_THAT(padded.refusals, HasSubstr("q, k and v that run padded"));
}

TEST(Attention, OtherPrecisionsAreNotRoundedToTf32) {
  const Choice choice = choose(90, {.precision = "fp32"});
  EXPECT_EQ(choice.kernel, "cuda_any_attention");
  EXPECT_THAT(choice.refusals, HasSubstr("a precision other than tf32"));
  EXPECT_EQ(choose(80, {.precision = "fp16"}).kernel, "cuda_tile_attention");
  EXPECT_EQ(choose(90, {.precision = "bf16"}).kernel, "cuda_wgmma_attention");
}

}  // namespace
}  // namespace bertie::cuda
