// The cuda backend against the reference, from the case lists of every backend; in 16 bits within what their rounding explains.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>

#include "cuda/cuda_device.h"
#include "cuda/kernels/linear_layer_norm.h"
#include "reference/backend.h"
#include "tests/conformance/cases.h"
#include "tests/cuda/gpu.h"

namespace bertie::test {
namespace {

struct Precision {
  const char* name;
  double epsilon;  // of its rounding; 0: the case's own bounds hold
};
constexpr Precision kPrecisions[] = {{"fp32", 0}, {"tf32", 0x1p-11}, {"fp16", 0x1p-11}, {"bf16", 0x1p-8}};

void expect_close(const ConformanceCase& c, const Precision& precision, const OpResult& actual, const OpResult& expected) {
  ASSERT_EQ(actual.shape, expected.shape) << c.name;
  double squares = 0, error_squares = 0, largest = 0;
  for (const float value : expected.values) largest = std::max(largest, std::abs(static_cast<double>(value)));
  // Rows of mean 100 lose what is left of their digits when they are rounded to 16 bits.
  const bool cancels = c.name.find("mean 100") != std::string::npos;
  // Operands and result are each rounded; of sums the errors grow as their terms' do.
  const double element_bound =
      precision.epsilon == 0 ? 4 * c.element_bound : (cancels ? 200 : 24) * precision.epsilon * std::max(largest, 1.0);
  const double whole_bound = precision.epsilon == 0 ? 2 * c.whole_bound : (cancels ? 100 : 4) * precision.epsilon;
  for (size_t i = 0; i < expected.values.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual.values[i]) - expected.values[i]);
    ASSERT_TRUE(error <= element_bound) << c.name << ", " << actual.kernel << " in " << precision.name << ": first bad element "
                                        << i << " of " << expected.values.size() << " is " << actual.values[i] << ", not "
                                        << expected.values[i] << " (bound " << element_bound << ")";
    squares += static_cast<double>(expected.values[i]) * expected.values[i];
    error_squares += error * error;
  }
  EXPECT_LE(std::sqrt(error_squares), whole_bound * std::sqrt(squares))
      << c.name << ", " << actual.kernel << " in " << precision.name;
}

class CudaConformance : public GpuTest {
 protected:
  void check_cases(const std::vector<ConformanceCase>& cases, std::span<const Precision> precisions = kPrecisions) {
    for (const ConformanceCase& c : cases) {
      const OpResult expected = run_op(reference_backend(), c.op, 1);
      for (const Precision& precision : precisions) {
        const OpResult actual = run_device_op(cuda_backend(), device, c.op, precision.name);
        if (actual.kernel.empty()) {
          ADD_FAILURE() << c.name << " in " << precision.name << ": " << (actual.refusal.empty() ? "no kernel" : actual.refusal);
          continue;
        }
        expect_close(c, precision, actual, expected);
      }
    }
  }
};

TEST_F(CudaConformance, Attention) { check_cases(attention_cases()); }
// Edges of tiles and of pieces of keys at every width; biases that rise from key to key, so that results so far are rescaled.
TEST_F(CudaConformance, Tf32AttentionAtEdges) {
  const Precision& tf32 = kPrecisions[1];
  for (const int64_t head_dim : {32, 64, 128})
    for (const bool relative_bias : {false, true})
      for (const bool query_rows : {false, true}) {
        AttentionShape shape{.heads = 3,
                             .head_dim = head_dim,
                             .lengths = {0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 0, 127, 128, 129, 200, 0},
                             .relative_bias = relative_bias};
        if (query_rows)
          for (int64_t row = 0; row < 921; row += 1 + row % 2) shape.query_rows.push_back(row);
        ConformanceCase c = attention_case(shape);
        if (relative_bias) {
          Tensor& bias = c.op.inputs[4].tensor;
          std::vector<float> rising(static_cast<size_t>(bias.shape.elements()));
          for (size_t i = 0; i < rising.size(); ++i)
            rising[i] = 0.2f * static_cast<float>(i % static_cast<size_t>(bias.shape[1]));
          bias = tensor_of(bias.shape, rising);
        }
        const OpResult expected = run_op(reference_backend(), c.op, 1);
        const OpResult actual = run_device_op(cuda_backend(), device, c.op, tf32.name);
        EXPECT_EQ(actual.kernel, "cuda_tf32_attention") << c.name << ": " << actual.refusal;
        expect_close(c, tf32, actual, expected);
      }
}
TEST_F(CudaConformance, PaddedAttention) { check_cases(padded_attention_cases()); }
TEST_F(CudaConformance, PaddedAttentionShowsABiasThatIsNoNumber) {
  const NanBiasCase c;
  for (const Precision& precision : kPrecisions)
    c.check(run_device_op(cuda_backend(), device, c.op, precision.name), precision.name);
}
TEST_F(CudaConformance, RowOps) { check_cases(row_op_cases()); }
TEST_F(CudaConformance, ElementOps) { check_cases(element_op_cases()); }
TEST_F(CudaConformance, Linear) { check_cases(linear_cases()); }
TEST_F(CudaConformance, LinearSkipLayerNorm) {
  if (std::static_pointer_cast<cuda::CudaDevice>(device)->capability() != 90) GTEST_SKIP() << "kernels for 9.0 alone";
  const std::span<const Precision> of_16_bits = std::span(kPrecisions).last<2>();
  check_cases(linear_skip_layer_norm_cases(false), of_16_bits);
  check_cases(large_linear_skip_layer_norm_cases(false), of_16_bits);
  check_cases(linear_skip_layer_norm_cases(true), of_16_bits.first<1>());
  check_cases(large_linear_skip_layer_norm_cases(true), of_16_bits.first<1>());
}
// On the largest device of 9.0, and thus on each.
TEST(LinearLayerNorm, LargeCasesAreForTheOneKernel) {
  using cuda::LinearOperands;
  for (const bool eight_bits : {false, true})
    for (const ConformanceCase& c : large_linear_skip_layer_norm_cases(eight_bits)) {
      const Shape& residual = c.op.inputs[5].tensor.shape;
      const LinearOperands operands = eight_bits ? LinearOperands::int8 : LinearOperands::elements;
      EXPECT_TRUE(cuda::linear_layer_norm_pays(residual[0], residual[1], operands, 132)) << c.name;
    }
}
TEST_F(CudaConformance, Matmul) { check_cases(matmul_cases()); }
TEST_F(CudaConformance, PaddedOps) { check_cases(padded_op_cases()); }
TEST_F(CudaConformance, TopK) { check_cases(top_k_cases()); }
TEST_F(CudaConformance, CopiedOps) { check_cases(copied_op_cases()); }

}  // namespace
}  // namespace bertie::test
