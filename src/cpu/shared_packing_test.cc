#include "cpu/shared_packing.h"

#include <gtest/gtest.h>

#include <vector>

#include "cpu/bf16_gemm.h"
#include "cpu/gemm.h"
#include "cpu/isa.h"
#include "cpu/random_floats_test.h"

namespace bertie::cpu {
namespace {

TEST(SharedPacking, OneForEqualBytesWhileSomeoneHoldsIt) {
  ThreadPool pool(1);
  const IsaKernels& kernels = *available_isas().back().kernels;
  const std::vector<float> values = random_floats(600, 1);
  const Tensor tensor = Tensor::from_floats({20, 30}, values), other = Tensor::from_floats({20, 30}, values);
  const auto packing_of = [&](const Tensor& weight) { return shared_packing<PackedWeight>(kernels, weight, pool); };
  const SharedPacking<PackedWeight> first = packing_of(tensor);
  EXPECT_TRUE(first.fresh);
  const SharedPacking<PackedWeight> second = packing_of(tensor);
  EXPECT_FALSE(second.fresh);
  EXPECT_EQ(first.weight, second.weight);
  EXPECT_TRUE(packing_of(other).fresh);
  Tensor reshaped = tensor;
  reshaped.shape = {30, 20};
  EXPECT_TRUE(packing_of(reshaped).fresh);
  if (available_isas().size() > 1) {
    EXPECT_TRUE(shared_packing<PackedWeight>(*available_isas()[0].kernels, tensor, pool).fresh);
  }
  if (has_bf16_gemm(kernels)) {
    const auto in_bf16 = shared_packing<PackedBf16Weight>(kernels, tensor, pool);
    EXPECT_TRUE(in_bf16.fresh);
    EXPECT_FALSE(shared_packing<PackedBf16Weight>(kernels, tensor, pool).fresh);
    EXPECT_FALSE(packing_of(tensor).fresh);
  }
}

}  // namespace
}  // namespace bertie::cpu
