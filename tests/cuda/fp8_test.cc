// The ops in e4m3 of the cuda backend against quant/fp8.h and sums in double. The matrix units' own sums keep about fourteen bits.
#include <cmath>
#include <cstring>
#include <limits>

#include "cuda/cuda_device.h"
#include "network/quantized_output.h"
#include "quant/fp8.h"
#include "tests/conformance/cases.h"
#include "tests/cuda/gpu.h"
#include "tests/support/eight_bits.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

template <typename T>
std::vector<T> output(const OpResult& result, size_t index) {
  std::vector<T> elements(result.outputs.at(index).size() / sizeof(T));
  if (!elements.empty()) std::memcpy(elements.data(), result.outputs[index].data(), result.outputs[index].size());
  return elements;
}

// [2, extent]: inverse scales, of which some take values of about [-4, 4] beyond 448, and offsets.
Operand quantization(std::mt19937& random, int64_t extent) {
  std::vector<float> numbers(static_cast<size_t>(2 * extent));
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float share = static_cast<float>(random() % 1000) / 1000.0f;
    numbers[i] = i < numbers.size() / 2 ? 5 + 150 * share : 20 * share - 10;
  }
  return {tensor_of({2, extent}, numbers), true};
}

class CudaFp8 : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    hopper_ = std::static_pointer_cast<cuda::CudaDevice>(device)->capability() == 90;
  }
  bool needs_hopper() const { return !hopper_; }

  OpResult run(const OpCase& op_case, const std::string& precision = "fp16") {
    OpResult result = run_device_op(cuda_backend(), device, op_case, precision);
    EXPECT_NE(result.kernel, "") << op_case.op << ": " << result.refusal;
    return result;
  }

  // What the op gives in eight bits, in every mode, against what fp8.h makes of its floats, which may have been quantised before they were
  // rounded to 16 bits. `slack`: of values, beside rounding.
  void expect_own_floats_quantised(OpCase c, const std::string& precision, bool both = true, double slack = 0,
                                   const std::vector<const char*>& modes = {"rows", "both", "fixed", "fixed_both"}) {
    std::mt19937 random(20);
    const OpResult plain = run(c, precision);
    const std::vector<float>& x = plain.values;
    const int64_t extent = plain.shape.back();
    const auto width = static_cast<size_t>(extent);
    const size_t rows = extent == 0 ? 0 : x.size() / width, floats_inputs = c.inputs.size();
    const int tolerance = precision == "fp32" ? 0 : 1;
    Node node;
    node.op = c.op;
    const Operand numbers = quantization(random, extent);
    const float* q = numbers.tensor.view().as<float>();
    c.attributes["quantize_element"] = std::string("e4m3");
    for (const char* mode : modes) {
      c.attributes["quantize_output"] = node.attributes["quantize_output"] = std::string(mode);
      const QuantizedOutput quantized(node);
      if (quantized.floats && !both) continue;
      const std::string where =
          c.op + " " + precision + " " + mode + " of " + std::to_string(rows) + " x " + std::to_string(extent);
      c.inputs.resize(floats_inputs);
      if (quantized.fixed) {
        c.inputs.resize(quantization_input(node));
        c.inputs.push_back(numbers);
      }
      const OpResult result = run(c, precision);
      if (result.kernel.empty()) return;
      if (quantized.floats) {
        EXPECT_EQ(result.values, x) << where;
      }
      const std::vector<uint8_t> codes = output<uint8_t>(result, quantized.values());
      ASSERT_EQ(codes.size(), x.size()) << where;
      for (size_t row = 0; row < rows; ++row) {
        std::vector<uint8_t> low(width), high(width);
        std::vector<float> least(width), most(width);
        for (size_t i = 0; i < width; ++i) {
          const double own = x[row * width + i], off = slack + (precision == "fp32" ? 0 : 0x1p-10 * std::abs(own));
          least[i] = static_cast<float>(own - off);
          most[i] = static_cast<float>(own + off);
        }
        if (quantized.fixed) {
          for (size_t i = 0; i < width; ++i) {
            low[i] = to_fp8_fixed(least[i], q[i], q[width + i]);
            high[i] = to_fp8_fixed(most[i], q[i], q[width + i]);
          }
        } else {
          const float scale = quantize_fp8(std::span(x).subspan(row * width, width), low.data());
          high = low;
          ASSERT_NEAR(output<float>(result, quantized.scales())[row], scale, tolerance * 0x1p-8 * scale)
              << where << ", row " << row;
        }
        for (size_t i = 0; i < width; ++i) {
          ASSERT_GE(ordered(codes[row * width + i]), ordered(low[i]) - tolerance) << where << ", row " << row << ", column " << i;
          ASSERT_LE(ordered(codes[row * width + i]), ordered(high[i]) + tolerance)
              << where << ", row " << row << ", column " << i;
        }
        if (row > 300) row += 37;
      }
    }
  }

 private:
  bool hopper_ = false;
};

OpCase linear_case(std::mt19937& random, int64_t rows, int64_t k, int64_t n, const std::string& activation, bool one_scale) {
  return {"fp8_linear",
          {{"activation", activation}},
          {{random_codes(random, {rows, k}, 8)},
           {one_scale ? tensor_of({}, {0.125f}) : random_tensor(random, {rows}, DType::f32, 0.02f, 0.125f), one_scale},
           {random_codes(random, {n, k}, 60), true},
           {random_tensor(random, {n}, DType::f32, 0.0002f, 0.001f), true},
           {random_tensor(random, {n}), true}},
          {},
          {}};
}

struct Size {
  int64_t rows, k, n;
};

TEST_F(CudaFp8, LinearIsTheProductScaled) {
  if (needs_hopper()) GTEST_SKIP() << "kernels for 9.0 alone";
  std::mt19937 random(1);
  for (const Size& size : {Size{0, 384, 16}, Size{1, 16, 16}, Size{5, 64, 256}, Size{130, 272, 512}, Size{129, 400, 48},
                           Size{300, 3072, 96}, Size{1000, 512, 272}, Size{6000, 384, 320}})
    for (const char* activation : {"none", "gelu", "relu"}) {
      const OpCase c = linear_case(random, size.rows, size.k, size.n, activation, size.k == 512);
      const OpResult result = run(c);
      const std::string what = result.kernel + " " + std::to_string(size.rows) + "x" + std::to_string(size.k) + "x" +
                               std::to_string(size.n) + " " + activation;
      ASSERT_EQ(result.kernel, "cuda_wgmma_fp8_linear") << result.refusal;
      const auto number = [&](size_t input, int64_t i) {
        return static_cast<double>(c.inputs[input].tensor.view().as<float>()[i]);
      };
      const auto code = [&](size_t input, int64_t i) {
        return static_cast<double>(fp8_to_float(c.inputs[input].tensor.view().as<uint8_t>()[i]));
      };
      for (int64_t row = 0; row<size.rows; row += size.rows> 300 ? 37 : 1)
        for (int64_t column = 0; column < size.n; ++column) {
          const double scale = number(1, size.k == 512 ? 0 : row) * number(3, column);
          double sum = number(4, column), terms = 1;
          for (int64_t k = 0; k < size.k; ++k) {
            const double term = code(0, row * size.k + k) * code(2, column * size.k + k) * scale;
            sum += term;
            terms += std::abs(term);
          }
          const double y = activation == std::string("gelu")   ? 0.5 * sum * (1 + std::erf(sum * std::sqrt(0.5)))
                           : activation == std::string("relu") ? std::max(sum, 0.0)
                                                               : sum;
          ASSERT_NEAR(result.values[static_cast<size_t>(row * size.n + column)], y, 0x1p-11 * terms + 0x1p-10 * std::abs(y))
              << what << ", row " << row << ", column " << column;
        }
    }
}

// Its own results in 16 bits, quantised; GELU is then coarser by what gelu.cuh says, and what f16 makes of that.
TEST_F(CudaFp8, LinearQuantisesItsRows) {
  if (needs_hopper()) GTEST_SKIP() << "kernels for 9.0 alone";
  std::mt19937 random(4);
  for (const Size& size : {Size{0, 384, 64}, Size{1, 16, 16}, Size{127, 128, 64}, Size{129, 400, 48}, Size{300, 768, 3072},
                           Size{5000, 384, 1152}, Size{20000, 384, 192}, Size{9000, 512, 1024}})
    for (const char* activation : {"none", "gelu", "tanh"})
      expect_own_floats_quantised(linear_case(random, size.rows, size.k, size.n, activation, size.k == 512), "fp16", false,
                                  activation == std::string("gelu") ? 8e-3 : 0);
}

// Where one power of two is the inverse scale of all columns, and no offset moves them, the kernel has a shorter way: a last column of its own
// sends it the long one.
TEST_F(CudaFp8, OneInverseGivesTheBitsOfOneAColumn) {
  if (needs_hopper()) GTEST_SKIP() << "kernels for 9.0 alone";
  std::mt19937 random(5);
  for (const Size& size : {Size{130, 768, 256}, Size{4000, 768, 3072}, Size{9000, 1024, 768}})
    for (const float inverse : {1.0f, 16.0f, 32768.0f}) {
      OpCase c = linear_case(random, size.rows, size.k, size.n, "gelu", true);
      c.attributes["quantize_element"] = std::string("e4m3");
      c.attributes["quantize_output"] = std::string("fixed");
      std::vector<float> numbers(static_cast<size_t>(2 * size.n), 0.0f);
      std::fill_n(numbers.begin(), size.n, inverse);
      Node node;
      node.op = c.op;
      c.inputs.resize(quantization_input(node));
      c.inputs.push_back({tensor_of({2, size.n}, numbers), true});
      const std::vector<uint8_t> codes = output<uint8_t>(run(c), 0);
      numbers.back() = 1;
      c.inputs.back() = {tensor_of({2, size.n}, numbers), true};
      const std::vector<uint8_t> expected = output<uint8_t>(run(c), 0);
      ASSERT_EQ(codes.size(), static_cast<size_t>(size.rows * size.n));
      ASSERT_EQ(codes.size(), expected.size());
      for (size_t i = 0; i < codes.size(); ++i) {
        if (i % static_cast<size_t>(size.n) == static_cast<size_t>(size.n) - 1) continue;
        ASSERT_EQ(codes[i], expected[i]) << size.rows << " x " << size.n << ", inverse " << inverse << ", value " << i;
      }
    }
}

TEST_F(CudaFp8, ScalesThatAreNotFiniteShow) {
  if (needs_hopper()) GTEST_SKIP() << "kernels for 9.0 alone";
  std::mt19937 random(3);
  OpCase c = linear_case(random, 2, 384, 16, "none", false);
  c.inputs[1].tensor = tensor_of({2}, {kInfinity, 0.1f});
  const OpResult result = run(c);
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_FALSE(std::isfinite(result.values[i]));
    EXPECT_TRUE(std::isfinite(result.values[16 + i]));
  }
}

TEST_F(CudaFp8, QuantizeRowsHasTheRulesBits) {
  std::mt19937 random(10);
  for (const int64_t rows : {0, 1, 300})
    for (const int64_t extent : {1, 15, 16, 384, 1031})
      for (const bool fixed : {false, true}) {
        std::vector<float> x(static_cast<size_t>(rows * extent));
        for (float& value : x) value = std::exp2(static_cast<float>(random() % 2000) / 100 - 15) * (random() % 2 ? 1.0f : -1.0f);
        if (fixed && x.size() > 15) {  // the last, a tie where scales are one
          x[1] = kNan;
          x[2] = kInfinity;
          x[3] = -kInfinity;
          x[4] = 464;
          x[5] = 0.53125f;
        }
        OpCase c{"quantize_rows", {{"quantize_element", std::string("e4m3")}}, {{tensor_of({rows, extent}, x)}}, {}, {}};
        std::vector<float> numbers(static_cast<size_t>(2 * extent), 0);
        std::fill(numbers.begin(), numbers.begin() + extent, extent == 16 ? 1.0f : 3.1f);
        if (fixed) c.inputs.push_back({tensor_of({2, extent}, numbers), true});
        const OpResult result = run(c, "fp32");
        const std::vector<uint8_t> codes = output<uint8_t>(result, 0);
        for (int64_t row = 0; row < rows; ++row) {
          const auto first = static_cast<size_t>(row * extent), width = static_cast<size_t>(extent);
          std::vector<uint8_t> expected(width);
          if (!fixed) {
            EXPECT_EQ(output<float>(result, 1)[static_cast<size_t>(row)],
                      quantize_fp8(std::span(x).subspan(first, width), expected.data()));
          }
          for (size_t i = 0; i < width; ++i) {
            if (fixed) expected[i] = to_fp8_fixed(x[first + i], numbers[i], 0);
            const bool nan = (expected[i] & 0x7f) == 0x7f;
            ASSERT_EQ(codes[first + i] | (nan ? 0x80 : 0), expected[i] | (nan ? 0x80 : 0)) << extent << ", " << x[first + i];
          }
        }
      }
}

TEST_F(CudaFp8, LayerNormsQuantiseTheirRows) {
  std::mt19937 random(11);
  for (const char* precision : {"fp32", "fp16"})
    for (const int64_t rows : {0, 1, 70, 3000})
      for (const int64_t extent : {33, 384, 768, 1024}) {
        const Operand x = {random_tensor(random, {rows, extent})}, gamma = {random_tensor(random, {extent}), true};
        expect_own_floats_quantised({"layer_norm", {{"epsilon", 1e-5}}, {x, gamma, gamma}, {}, {}}, precision);
        expect_own_floats_quantised({"skip_layer_norm", {{"epsilon", 1e-5}}, {x, x, gamma, gamma}, {}, {}}, precision);
      }
}

TEST_F(CudaFp8, LinearSkipLayerNormQuantisesItsRows) {
  if (needs_hopper()) GTEST_SKIP() << "kernels for 9.0 alone";
  for (const auto& cases : {linear_skip_layer_norm_cases(true), large_linear_skip_layer_norm_cases(true)})
    for (const ConformanceCase& c : cases)
      if (c.op.inputs[0].tensor.dtype == DType::u8) expect_own_floats_quantised(c.op, "fp16", true, 0, {"fixed_both"});
}

TEST_F(CudaFp8, AttentionQuantisesItsRows) {
  std::mt19937 random(12);
  for (const char* precision : {"fp32", "fp16"})
    for (const int64_t head : {32, 40, 64})
      for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{}, {1}, {5, 0, 150, 1, 16, 300}, {128, 128, 129}}) {
        int64_t tokens = 0;
        for (const int64_t length : lengths) tokens += length;
        const Attributes attributes = {{"heads", int64_t{3}}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}};
        expect_own_floats_quantised({"attention", attributes, {{random_tensor(random, {tokens, 3 * 3 * head})}}, lengths, {}},
                                    precision);
      }
}

}  // namespace
}  // namespace bertie::test
