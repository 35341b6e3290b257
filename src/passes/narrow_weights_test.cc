// Which weights `narrow_weights` keeps in 16 bits, and that it changes no number.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "base/float_element.h"
#include "passes/pass.h"

namespace bertie {
namespace {

// Of one weight [256, 256] made of these numbers, in turn, after the passes; `table`: an embedding looks it up too.
DType narrowed_to(const std::vector<float>& numbers, bool table = false, const std::vector<std::string>& disabled = {}) {
  constexpr int64_t kWidth = 256;
  Network network;
  const ValueId x = network.add_input("x", DType::f32, {"rows", kWidth});
  std::vector<float> values(kWidth * kWidth);
  for (size_t i = 0; i < values.size(); ++i) values[i] = numbers[i % numbers.size()];
  const ValueId weight = network.add_constant("weight", Tensor::from_floats({kWidth, kWidth}, values));
  network.add_output("y", network.add_linear(x, weight, kNone, "layer"));
  if (table) {
    const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
    network.add_output("z", network.add_embedding(weight, ids, "embedding"));
  }
  run_passes(network, {.disabled = disabled});
  for (const NodeId id : network.order()) {
    if (network.node(id).op != "linear") continue;
    const Tensor& kept = *network.value(network.node(id).input(1)).constant;
    for (size_t i = 0; i < values.size(); ++i)
      EXPECT_EQ(std::bit_cast<uint32_t>(float_element(kept.view(), i)), std::bit_cast<uint32_t>(values[i])) << i;
    return kept.dtype;
  }
  ADD_FAILURE() << "no linear layer";
  return DType::i64;
}

TEST(NarrowWeights, KeepsWhatSixteenBitsHold) {
  EXPECT_EQ(narrowed_to({0.0f, -0.0f, 1.5f, -0x1p-120f}), DType::bf16);
  EXPECT_EQ(narrowed_to({1.0009765625f, -65504.0f, 0x1p-24f, 0x1.8p-23f, -0.0f}), DType::f16);
  EXPECT_EQ(narrowed_to({0.5f}), DType::bf16);  // both hold it
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(narrowed_to({1.0009765625f, infinity, -infinity}), DType::f16);
}

TEST(NarrowWeights, LeavesEverythingElse) {
  EXPECT_EQ(narrowed_to({0.1f}), DType::f32);
  std::vector<float> all(256 * 256, 1.0009765625f);
  EXPECT_EQ(narrowed_to(all), DType::f16);
  for (const float other : {0.1f, 65520.0f, 0x1p-25f, 0x1p-120f}) {
    for (float* place : {&all.front(), &all.back()}) {
      *place = other;
      EXPECT_EQ(narrowed_to(all), DType::f32) << other;
      *place = all[1];
    }
  }
  EXPECT_EQ(narrowed_to({0.5f}, true), DType::f32);  // the table would be held twice
  EXPECT_EQ(narrowed_to({0.5f}, false, {"narrow_weights"}), DType::f32);
}

}  // namespace
}  // namespace bertie
