// Linear layers in e4m3 against quant/fp8.h and sums in double. The matrix units' own sums keep about fourteen bits.
#include <cmath>

#include "base/float16.h"
#include "cuda/cuda_device.h"
#include "quant/fp8.h"
#include "tests/cuda/gpu.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

class CudaFp8 : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    if (std::static_pointer_cast<cuda::CudaDevice>(device)->capability() != 90) GTEST_SKIP() << "kernels for 9.0 alone";
  }
  OpResult run(const OpCase& op_case) { return run_device_op(cuda_backend(), device, op_case, "fp8"); }
};

// Values of the rows of f16 or f32 as e4m3 keeps them, with the scale.
std::vector<double> rounded_rows(const Tensor& tensor) {
  const int64_t rows = tensor.shape[0], width = tensor.shape[1];
  std::vector<double> result;
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<float> floats;
    for (int64_t i = row * width; i < (row + 1) * width; ++i)
      floats.push_back(tensor.dtype == DType::f16 ? f16_to_float(tensor.view().as<uint16_t>()[i]) : tensor.view().as<float>()[i]);
    std::vector<uint8_t> codes(floats.size());
    const double scale = quantize_fp8(floats, codes.data());
    for (const uint8_t code : codes) result.push_back(fp8_to_float(code) * scale);
  }
  return result;
}

TEST_F(CudaFp8, LinearIsTheProductOfRoundedRows) {
  std::mt19937 random(1);
  struct Size {
    int64_t rows, k, n;
  };
  for (const Size& size :
       {Size{0, 384, 16}, Size{1, 384, 16}, Size{129, 400, 48}, Size{300, 3072, 96}, Size{1000, 512, 272}, Size{6000, 384, 320}})
    for (const char* activation : {"none", "gelu"}) {
      Tensor x = random_tensor(random, {size.rows, size.k}, DType::f16);
      if (size.rows == 129) {  // a row of zeros
        auto* first = static_cast<uint16_t*>(const_cast<void*>(x.data.get()));
        std::fill(first, first + size.k, uint16_t{0});
      }
      const Tensor weight = random_tensor(random, {size.n, size.k}, DType::f32, 0.05f), bias = random_tensor(random, {size.n});
      const OpResult result =
          run({"linear", {{"activation", std::string(activation)}}, {{x}, {weight, true}, {bias, true}}, {}, {}});
      const std::string what = result.kernel + " " + std::to_string(size.rows) + "x" + std::to_string(size.k) + "x" +
                               std::to_string(size.n) + " " + activation;
      ASSERT_EQ(result.kernel, "cuda_wgmma_fp8_linear") << result.refusal;
      const std::vector<double> a = rounded_rows(x), b = rounded_rows(weight);
      for (int64_t row = 0; row<size.rows; row += row> 300 ? 37 : 1)
        for (int64_t column = 0; column < size.n; ++column) {
          double sum = bias.view().as<float>()[column], terms = 1;
          for (int64_t k = 0; k < size.k; ++k) {
            const double term = a[static_cast<size_t>(row * size.k + k)] * b[static_cast<size_t>(column * size.k + k)];
            sum += term;
            terms += std::abs(term);
          }
          const double y = activation == std::string("gelu") ? 0.5 * sum * (1 + std::erf(sum * std::sqrt(0.5))) : sum;
          ASSERT_NEAR(result.values[static_cast<size_t>(row * size.n + column)], y, 0x1p-11 * terms + 0x1p-10 * std::abs(y))
              << what << ", row " << row << ", column " << column;
        }
    }
}

TEST_F(CudaFp8, OtherShapesAreComputedIn16Bits) {
  std::mt19937 random(2);
  const OpResult result = run({"linear", {}, {{random_tensor(random, {3, 96})}, {random_tensor(random, {5, 96}), true}}, {}, {}});
  EXPECT_EQ(result.kernel, "cuda_cublaslt_linear") << result.refusal;
}

TEST_F(CudaFp8, RowsThatAreNotFiniteShow) {
  std::mt19937 random(3);
  Tensor x = random_tensor(random, {2, 384}, DType::f16);
  static_cast<uint16_t*>(const_cast<void*>(x.data.get()))[5] = 0x7c00;
  const OpResult result = run({"linear", {}, {{x}, {random_tensor(random, {16, 384}), true}}, {}, {}});
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_FALSE(std::isfinite(result.values[i]));
    EXPECT_TRUE(std::isfinite(result.values[16 + i]));
  }
}

}  // namespace
}  // namespace bertie::test
