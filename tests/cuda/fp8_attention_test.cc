// Attention in fp8 of the cuda backend against the reference, which follows quant/attention_fp8.h.
#include <cmath>
#include <limits>
#include <span>

#include "cuda/cuda_device.h"
#include "quant/attention_fp8.h"
#include "reference/backend.h"
#include "tests/conformance/cases.h"
#include "tests/cuda/eight_bit_attention.h"
#include "tests/cuda/gpu.h"

namespace bertie::test {
namespace {

class CudaFp8Attention : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped() && std::static_pointer_cast<cuda::CudaDevice>(device)->capability() < 89)
      GTEST_SKIP() << "e4m3 is for 8.9 and above";
  }
  OpResult run(const OpCase& c) { return run_device_op(cuda_backend(), device, c, "fp8"); }

  // NaN where it has NaN, and else near it: by the norm of the difference, beside what rounding to 16 bits costs.
  void expect_the_references_results(const OpCase& c, DType dtype, const std::string& name) {
    const Rounded rounded(c, dtype);
    OpCase wide = rounded.wide;
    wide.attributes["precision"] = std::string("fp8");
    const std::vector<float> exact = run_op(reference_backend(), wide).values;
    const OpResult result = run(rounded.kept);
    const std::string where = fmt::format("{} in {}", name, dtype_name(dtype));
    ASSERT_EQ(result.kernel, "cuda_fp8_attention") << where << result.refusal;
    ASSERT_EQ(result.values.size(), exact.size()) << where;
    double error = 0, size = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      ASSERT_EQ(std::isnan(result.values[i]), std::isnan(exact[i])) << where << ", element " << i;
      if (std::isnan(exact[i])) continue;
      error += std::pow(static_cast<double>(result.values[i]) - exact[i], 2);
      size += std::pow(static_cast<double>(exact[i]), 2);
    }
    const double rounding = dtype == DType::bf16 ? 4e-3 : dtype == DType::f16 ? 5e-4 : 0;
    EXPECT_LE(std::sqrt(error), (kAttentionFp8Agreement + rounding) * std::sqrt(size)) << where;
  }
};

TEST_F(CudaFp8Attention, AgreesWithTheReference) {
  for (const ConformanceCase& c : attention_cases()) {
    if (takes_in_eight_bits(c.op))
      expect_the_references_results(c.op, DType::f32, c.name);
    else
      EXPECT_EQ(run(c.op).kernel, "") << c.name;
  }
  for (const ConformanceCase& c : padded_attention_cases()) EXPECT_EQ(run(c.op).kernel, "") << c.name;
}

TEST_F(CudaFp8Attention, OfNumbersIn16BitsAgreesWithTheReference) {
  for_each_case_in_16_bits(
      [this](const OpCase& c, DType dtype, const std::string& name) { expect_the_references_results(c, dtype, name); });
}

TEST_F(CudaFp8Attention, OfZerosTinyAndLargeValuesAgreesWithTheReference) {
  std::mt19937 random(23);
  const Attributes attributes = {{"heads", int64_t{1}}, {"scale", 0.3}, {"packed_qkv", int64_t{1}}};
  for (const DType dtype : kStored)
    for (const float scale : {0.0f, 1e-30f, 1e-4f, 1e3f, 1e6f, 1e15f})
      for (const int64_t head_dim : {24, 64}) {
        if (dtype == DType::f16 && (scale > 1e3f || (scale > 0 && scale < 1e-4f))) continue;
        // Large scores are all but one weight zero.
        expect_the_references_results(
            {"attention", attributes, {{random_tensor(random, {183, 3 * head_dim}, DType::f32, scale)}}, {20, 13, 150}, {}},
            dtype, fmt::format("{} of {}", scale, head_dim));
      }
}

TEST_F(CudaFp8Attention, ShowsWhatIsNotFinite) {
  for_each_case_that_is_not_finite(
      [this](const OpCase& c, DType dtype, const std::string& name) { expect_the_references_results(c, dtype, name); });
}

TEST_F(CudaFp8Attention, OfASequenceDoesNotDependOnItsNeighbours) {
  expect_no_dependence_on_neighbours([this](const OpCase& c) { return run(c).values; });
}

}  // namespace
}  // namespace bertie::test
