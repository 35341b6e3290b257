// The ops in e4m3 of the cuda backend against quant/fp8.h and sums in double. The matrix units' own sums keep about fourteen bits. Products are
// taken by each kernel that the device has, cuBLASLt's on Hopper too.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

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

// cuda_backend() with no other kernel than this.
template <const char* kName>
Backend backend_of() {
  Backend alone = cuda_backend();
  alone.kernels = [] {
    const std::span<const KernelEntry> all = cuda_backend().kernels();
    const auto own = std::find_if(all.begin(), all.end(), [](const KernelEntry& entry) { return entry.name == kName; });
    return all.subspan(static_cast<size_t>(own - all.begin()), own == all.end() ? 0 : 1);
  };
  return alone;
}
constexpr char kWgmma[] = "cuda_wgmma_fp8_linear", kCublaslt[] = "cuda_cublaslt_fp8_linear";

class CudaFp8 : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped()) capability_ = std::static_pointer_cast<cuda::CudaDevice>(device)->capability();
  }
  bool needs_hopper() const { return capability_ != 90; }
  bool needs_fp8() const { return capability_ < 89; }

  OpResult run(const OpCase& op_case, const std::string& precision = "fp16") {
    OpResult result = run_device_op(backend_, device, op_case, precision);
    EXPECT_NE(result.kernel, "") << op_case.op << ": " << result.refusal;
    return result;
  }

  // Calls body(name) for each kernel of fp8_linear that the device has; run() has that alone meanwhile.
  template <typename Body>
  void for_each_linear(Body body) {
    if (!needs_hopper()) {
      backend_ = backend_of<kWgmma>();
      body(kWgmma);
    }
    backend_ = backend_of<kCublaslt>();
    body(kCublaslt);
    backend_ = cuda_backend();
  }

  void expect_the_product_scaled(const OpCase& c, const std::string& precision, std::string_view kernel);

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
          plain.kernel + " " + precision + " " + mode + " of " + std::to_string(rows) + " x " + std::to_string(extent);
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
  int capability_ = 0;
  Backend backend_ = cuda_backend();
};

OpCase linear_case(std::mt19937& random, int64_t rows, int64_t k, int64_t n, const std::string& activation, bool one_scale,
                   bool bias = true, bool residual = false) {
  return {"fp8_linear",
          {{"activation", activation}},
          {{random_codes(random, {rows, k}, 8)},
           {one_scale ? tensor_of({}, {0.125f}) : random_tensor(random, {rows}, DType::f32, 0.02f, 0.125f), one_scale},
           {random_codes(random, {n, k}, 60), true},
           {random_tensor(random, {n}, DType::f32, 0.0002f, 0.001f), true},
           bias ? Operand{random_tensor(random, {n}), true} : Operand{},
           residual ? Operand{random_tensor(random, {rows, n})} : Operand{}},
          {},
          {}};
}

double activated(double x, const std::string& activation) {
  if (activation == "gelu") return 0.5 * x * (1 + std::erf(x * std::sqrt(0.5)));
  if (activation == "gelu_tanh") return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
  if (activation == "relu") return std::max(x, 0.0);
  if (activation == "silu") return x / (1 + std::exp(-x));
  if (activation == "tanh") return std::tanh(x);
  return x;
}

void CudaFp8::expect_the_product_scaled(const OpCase& c, const std::string& precision, std::string_view kernel) {
  const OpResult result = run(c, precision);
  ASSERT_EQ(result.kernel, kernel) << result.refusal;
  const int64_t rows = c.inputs[0].tensor.shape[0], depth = c.inputs[0].tensor.shape[1], columns = c.inputs[2].tensor.shape[0];
  const std::string activation = std::get<std::string>(c.attributes.at("activation"));
  const std::string what = result.kernel + " " + precision + " " + std::to_string(rows) + "x" + std::to_string(depth) + "x" +
                           std::to_string(columns) + " " + activation;
  const auto numbers = [&](size_t input) {
    const Tensor& tensor = c.inputs[input].tensor;
    return tensor.data ? std::span(tensor.view().as<float>(), static_cast<size_t>(tensor.shape.elements()))
                       : std::span<const float>();
  };
  const auto decoded = [&](size_t input) {
    const Tensor& tensor = c.inputs[input].tensor;
    std::vector<double> codes;
    for (int64_t i = 0; i < tensor.shape.elements(); ++i) codes.push_back(fp8_to_float(tensor.view().as<uint8_t>()[i]));
    return codes;
  };
  const std::span<const float> x_scale = numbers(1), w_scale = numbers(3), bias = numbers(4), residual = numbers(5);
  const std::vector<double> x = decoded(0), weight = decoded(2);
  const double epsilon = precision == "bf16" ? 0x1p-7 : precision == "fp16" ? 0x1p-10 : 2e-6;
  ASSERT_EQ(result.values.size(), static_cast<size_t>(rows * columns)) << what;
  const int64_t step = rows > 300 ? 37 : 1;
  for (int64_t row = 0; row < rows; row += step)
    for (int64_t column = 0; column < columns; ++column) {
      const auto n = static_cast<size_t>(column), at = static_cast<size_t>(row * columns + column);
      const double scale = static_cast<double>(x_scale[x_scale.size() == 1 ? 0 : static_cast<size_t>(row)]) * w_scale[n];
      double sum = bias.empty() ? 0.0 : bias[n], terms = 1;
      for (int64_t k = 0; k < depth; ++k) {
        const double term = x[static_cast<size_t>(row * depth + k)] * weight[static_cast<size_t>(column * depth + k)] * scale;
        sum += term;
        terms += std::abs(term);
      }
      const double added = residual.empty() ? 0.0 : residual[at], y = activated(sum, activation) + added;
      ASSERT_NEAR(result.values[at], y, 0x1p-11 * terms + epsilon * (std::abs(y) + std::abs(added)))
          << what << ", row " << row << ", column " << column;
    }
}

struct Size {
  int64_t rows, k, n;
};

constexpr const char* kNoFp8 = "no products of e4m3 below compute capability 8.9";

TEST_F(CudaFp8, LinearIsTheProductScaled) {
  if (needs_fp8()) GTEST_SKIP() << kNoFp8;
  for_each_linear([&](std::string_view kernel) {
    std::mt19937 random(1);
    for (const Size& size : {Size{0, 384, 16}, Size{1, 16, 16}, Size{5, 64, 256}, Size{130, 272, 512}, Size{129, 400, 48},
                             Size{300, 3072, 96}, Size{1000, 512, 272}, Size{6000, 384, 320}})
      for (const char* activation : {"none", "gelu", "relu"})
        expect_the_product_scaled(linear_case(random, size.rows, size.k, size.n, activation, size.k == 512), "fp16", kernel);
  });
}

// On Hopper the first kernel takes f16 without a residual alone, and the one behind it the rest.
TEST_F(CudaFp8, LinearInEveryPrecisionWithEveryActivationAndResidual) {
  if (needs_fp8()) GTEST_SKIP() << kNoFp8;
  std::mt19937 random(2);
  for (const char* activation : {"none", "gelu", "gelu_tanh", "relu", "silu", "tanh"})
    for (const char* precision : {"fp32", "fp16", "bf16"})
      for (const bool residual : {false, true}) {
        const bool wgmma = !needs_hopper() && !residual && precision == std::string("fp16");
        for (const Size& size : {Size{35, 384, 48}, Size{17, 16, 16}})
          expect_the_product_scaled(linear_case(random, size.rows, size.k, size.n, activation, residual, size.k == 384, residual),
                                    precision, wgmma ? kWgmma : kCublaslt);
      }
}

TEST_F(CudaFp8, LinearSaysWhichExtentsItDoesNotTake) {
  if (needs_fp8()) GTEST_SKIP() << kNoFp8;
  std::mt19937 random(5);
  for (const Size& size : {Size{3, 24, 16}, Size{3, 16, 40}}) {
    const OpResult result =
        run_device_op(cuda_backend(), device, linear_case(random, size.rows, size.k, size.n, "none", false), "fp16");
    EXPECT_EQ(result.kernel, "");
    EXPECT_NE(result.refusal.find("multiples of 16"), std::string::npos) << result.refusal;
  }
}

// More rows than are taken at a time by cuBLASLt.
TEST_F(CudaFp8, LinearOfManyRows) {
  if (needs_fp8()) GTEST_SKIP() << kNoFp8;
  std::mt19937 random(6);
  expect_the_product_scaled(linear_case(random, 2500, 16, 4096, "none", false, true, true), "fp32", kCublaslt);
  expect_own_floats_quantised(linear_case(random, 2500, 32, 8192, "none", false), "fp32", false);
}

// Its own results in 16 bits, quantised; GELU is then coarser by what gelu.cuh says, and what f16 makes of that.
TEST_F(CudaFp8, LinearQuantisesItsRows) {
  if (needs_fp8()) GTEST_SKIP() << kNoFp8;
  for_each_linear([&](std::string_view kernel) {
    std::mt19937 random(4);
    for (const Size& size : {Size{0, 384, 64}, Size{1, 16, 16}, Size{127, 128, 64}, Size{129, 400, 48}, Size{300, 768, 3072},
                             Size{5000, 384, 1152}, Size{20000, 384, 192}, Size{9000, 512, 1024}})
      for (const char* activation : {"none", "gelu", "tanh"})
        expect_own_floats_quantised(linear_case(random, size.rows, size.k, size.n, activation, size.k == 512), "fp16", false,
                                    kernel == kWgmma && activation == std::string("gelu") ? 8e-3 : 0);
  });
}

// Nothing is rounded in between. Rows of 4112 columns are more than a block holds in registers.
TEST_F(CudaFp8, LinearQuantisesItsRowsInFloat32) {
  if (needs_fp8()) GTEST_SKIP() << kNoFp8;
  std::mt19937 random(7);
  for (const int64_t rows : {0, 1, 17, 70})
    for (const int64_t n : {48, 768, 4112})
      for (const bool residual : {false, true})
        expect_own_floats_quantised(linear_case(random, rows, 96, n, residual ? "gelu" : "none", n == 768, n != 48, residual),
                                    "fp32", false);
}

// Where one power of two is the inverse scale of all columns, and no offset moves them, kernels have a shorter way: a last column of its own
// sends them the long one.
TEST_F(CudaFp8, OneInverseGivesTheBitsOfOneAColumn) {
  if (needs_hopper()) GTEST_SKIP() << "kernels for 9.0 alone";
  std::mt19937 random(5);
  const auto expect_the_same = [&](OpCase c, const std::string& mode, int64_t columns) {
    Node node;
    node.op = c.op;
    c.attributes["quantize_element"] = std::string("e4m3");
    c.attributes["quantize_output"] = node.attributes["quantize_output"] = mode;
    c.inputs.resize(quantization_input(node));
    c.inputs.emplace_back();
    for (const float inverse : {1.0f, 16.0f, 32768.0f}) {
      std::vector<float> numbers(static_cast<size_t>(2 * columns), 0.0f);
      std::fill_n(numbers.begin(), columns, inverse);
      c.inputs.back() = {tensor_of({2, columns}, numbers), true};
      const std::vector<uint8_t> codes = output<uint8_t>(run(c), QuantizedOutput(node).values());
      numbers.back() = 1;
      c.inputs.back() = {tensor_of({2, columns}, numbers), true};
      const std::vector<uint8_t> expected = output<uint8_t>(run(c), QuantizedOutput(node).values());
      ASSERT_GT(codes.size(), 0u);
      ASSERT_EQ(codes.size(), expected.size());
      for (size_t i = 0; i < codes.size(); ++i) {
        if (i % static_cast<size_t>(columns) == static_cast<size_t>(columns) - 1) continue;
        ASSERT_EQ(codes[i], expected[i]) << c.op << " of " << columns << ", inverse " << inverse << ", value " << i;
      }
    }
  };
  for (const Size& size : {Size{4000, 768, 3072}, Size{9000, 1024, 768}})
    expect_the_same(linear_case(random, size.rows, size.k, size.n, "gelu", true), "fixed", size.n);
  for (const ConformanceCase& c : large_linear_skip_layer_norm_cases(true))
    if (c.op.inputs[0].tensor.dtype == DType::u8) expect_the_same(c.op, "fixed_both", c.op.inputs[2].tensor.shape[0]);
  for (const int64_t head : {32, 64, 128})
    expect_the_same({"attention",
                     {{"heads", int64_t{3}}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}},
                     {{random_tensor(random, {150, 3 * 3 * head})}},
                     {100, 1, 49},
                     {}},
                    "fixed", 3 * head);
}

TEST_F(CudaFp8, ScalesThatAreNotFiniteShow) {
  if (needs_fp8()) GTEST_SKIP() << kNoFp8;
  for_each_linear([&](std::string_view kernel) {
    std::mt19937 random(3);
    OpCase c = linear_case(random, 2, 384, 16, "none", false);
    c.inputs[1].tensor = tensor_of({2}, {kInfinity, 0.1f});
    const OpResult result = run(c);
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_FALSE(std::isfinite(result.values[i])) << kernel;
      EXPECT_TRUE(std::isfinite(result.values[16 + i])) << kernel;
    }
  });
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
  const auto check = [&](int64_t heads, int64_t head, const std::vector<int64_t>& lengths, const char* precision) {
    int64_t tokens = 0;
    for (const int64_t length : lengths) tokens += length;
    const Attributes attributes = {{"heads", heads}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}};
    expect_own_floats_quantised({"attention", attributes, {{random_tensor(random, {tokens, 3 * heads * head})}}, lengths, {}},
                                precision);
  };
  for (const char* precision : {"fp32", "tf32", "fp16", "fp8"})
    for (const int64_t head : {32, 40, 64})
      for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{}, {1}, {5, 0, 150, 1, 16, 300}, {128, 128, 129}})
        check(3, head, lengths, precision);
  // More tiles than a large GPU takes at a time.
  for (const int64_t head : {32, 64, 128}) check(16, head, {300, 40, 150, 7, 260, 128, 90, 200}, "fp16");
}

}  // namespace
}  // namespace bertie::test
