// The eight-bit ops of the cuda backend: the reference's bits where the arithmetic is exact; of floats that are quantised, what quant/int8.h
// makes of the kernel's own.
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/float16.h"
#include "base/float_element.h"
#include "cuda/cuda_device.h"
#include "network/quantized_output.h"
#include "quant/int8.h"
#include "reference/backend.h"
#include "tests/conformance/cases.h"
#include "tests/cuda/eight_bit_attention.h"
#include "tests/cuda/gpu.h"
#include "tests/support/eight_bits.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

// [2, extent]: inverse scales and offsets that put values of about [-10, 10] on both sides of the bounds.
Operand quantization(std::mt19937& random, int64_t extent) {
  std::vector<float> numbers(static_cast<size_t>(2 * extent));
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float share = static_cast<float>(random() % 1000) / 1000.0f;
    numbers[i] = i < numbers.size() / 2 ? 5 + 30 * share : 80 * share - 40;
  }
  return {tensor_of({2, extent}, numbers), true};
}

OpCase linear_case(std::mt19937& random, int64_t rows, int64_t k, int64_t n, Attributes attributes = {}, bool bias = true,
                   bool residual = false, bool one_scale = false) {
  OpCase c{"int8_linear", std::move(attributes), {}, {}, {}};
  c.inputs = {{random_integers(random, {rows, k})},
              {one_scale ? tensor_of({}, {0.01f}) : random_tensor(random, {rows}, DType::f32, 0.001f, 0.01f), one_scale},
              {random_integers(random, {n, k}), true},
              {random_tensor(random, {n}, DType::f32, 0.001f, 0.01f), true}};
  c.inputs.push_back(bias ? Operand{random_tensor(random, {n}), true} : Operand{});
  c.inputs.push_back(residual ? Operand{random_tensor(random, {rows, n})} : Operand{});
  return c;
}

template <typename T>
std::vector<T> output(const OpResult& result, size_t index) {
  std::vector<T> elements(result.outputs.at(index).size() / sizeof(T));
  if (!elements.empty()) std::memcpy(elements.data(), result.outputs[index].data(), result.outputs[index].size());
  return elements;
}

class CudaInt8 : public GpuTest {
 protected:
  OpResult run(const OpCase& op_case, const std::string& precision = "fp32") {
    OpResult result = run_device_op(cuda_backend(), device, op_case, precision);
    EXPECT_NE(result.kernel, "") << op_case.op << ": " << result.refusal;
    return result;
  }

  // What the op gives as integers, in every mode, against what int8.h makes of its floats; those of 16 bits may have been quantised before
  // they were rounded.
  void expect_own_floats_quantised(OpCase c, const std::string& precision, bool both = true,
                                   const std::vector<const char*>& modes = {"rows", "both", "fixed", "fixed_both"}) {
    std::mt19937 random(20);
    const std::vector<float> x = run(c, precision).values;
    const OpResult plain = run(c, precision);
    const int64_t extent = plain.shape.back();
    const size_t rows = extent == 0 ? 0 : x.size() / static_cast<size_t>(extent);
    const int tolerance = precision == "fp16" || precision == "bf16" ? 1 : 0;
    Node node;
    node.op = c.op;
    const Operand scales = quantization(random, extent);
    const float* numbers = scales.tensor.view().as<float>();
    const size_t floats_inputs = c.inputs.size();
    for (const char* mode : modes) {
      const QuantizedOutput quantized([&] {
        Node wanted;
        wanted.op = c.op;
        wanted.attributes["quantize_output"] = std::string(mode);
        return wanted;
      }());
      if (quantized.floats && !both) continue;
      const std::string where =
          c.op + " " + precision + " " + mode + " of " + std::to_string(rows) + " x " + std::to_string(extent);
      c.attributes["quantize_output"] = std::string(mode);
      c.inputs.resize(floats_inputs);
      if (quantized.fixed) {
        c.inputs.resize(quantization_input(node));
        c.inputs.push_back(scales);
      }
      const OpResult result = run(c, precision);
      if (result.kernel.empty()) return;
      if (quantized.floats) {
        EXPECT_EQ(result.values, x) << where;
      }
      const std::vector<int8_t> values = output<int8_t>(result, quantized.values());
      ASSERT_EQ(values.size(), x.size()) << where;
      for (size_t row = 0; row < rows; ++row) {
        const auto width = static_cast<size_t>(extent);
        std::vector<int8_t> expected(width);
        if (quantized.fixed) {
          for (size_t i = 0; i < width; ++i) expected[i] = to_int8_fixed(x[row * width + i], numbers[i], numbers[width + i]);
        } else {
          const float scale = quantize_int8(std::span(x).subspan(row * width, width), expected.data());
          const float own = output<float>(result, quantized.scales())[row];
          ASSERT_NEAR(own, scale, tolerance * 0x1p-8 * scale) << where << ", row " << row;
        }
        for (size_t i = 0; i < width; ++i)
          ASSERT_NEAR(values[row * width + i], expected[i], tolerance) << where << ", row " << row << ", column " << i;
      }
    }
  }
};

TEST_F(CudaInt8, LinearWithoutActivationHasTheReferencesBits) {
  std::mt19937 random(5);
  for (int64_t rows : {0, 1, 2, 15, 17, 130})
    for (int64_t k : {0, 1, 16, 63, 64, 300, 768})
      for (int64_t n : {1, 16, 35, 48, 256}) {
        const OpCase c = linear_case(random, rows, k, n, {}, rows % 2 == 0, n % 3 == 0, k == 64);
        EXPECT_EQ(run(c).values, run_op(reference_backend(), c).values) << rows << "x" << k << "x" << n;
      }
}

// More rows than are taken at a time.
TEST_F(CudaInt8, LinearOfManyRowsHasTheReferencesBits) {
  std::mt19937 random(6);
  const OpCase c = linear_case(random, 2500, 16, 4096, {}, true, true);
  EXPECT_EQ(run(c).values, run_op(reference_backend(), c).values);
  expect_own_floats_quantised(linear_case(random, 2500, 32, 8192), "fp32", false);
}

TEST_F(CudaInt8, LinearQuantisesItsRows) {
  std::mt19937 random(7);
  for (int64_t rows : {0, 1, 17, 70})
    for (int64_t n : {1, 48, 200, 513, 768, 4112}) {
      expect_own_floats_quantised(linear_case(random, rows, 96, n, {}, n != 48, n == 200), "fp32", false);
      expect_own_floats_quantised(linear_case(random, rows, 96, n, {{"activation", std::string("gelu")}}), "fp32", false);
      expect_own_floats_quantised(linear_case(random, rows, 96, n, {{"activation", std::string("gelu")}}, true, true), "fp16",
                                  false);
    }
}

// On Hopper by wgmma_linear, many tiles a block among them: exact results, rounded once.
TEST_F(CudaInt8, LinearIn16BitsRoundsTheExactResult) {
  std::mt19937 random(13);
  struct Size {
    int64_t rows, k, n;
  };
  for (const Size& size :
       {Size{0, 384, 16}, Size{1, 384, 16}, Size{127, 400, 48}, Size{129, 512, 272}, Size{300, 3072, 768}, Size{1000, 768, 2304},
        Size{5000, 384, 1152}, Size{5000, 768, 3072}, Size{20000, 384, 192}, Size{40000, 384, 64}, Size{9000, 512, 1024}}) {
    const std::string what = fmt::format("{}x{}x{}", size.rows, size.k, size.n);
    OpCase c = linear_case(random, size.rows, size.k, size.n, {}, size.n != 48, false, size.k == 512);
    for (float& scale :
         std::span(static_cast<float*>(const_cast<void*>(c.inputs[3].tensor.data.get())), static_cast<size_t>(size.n)))
      scale = std::abs(scale) * 0.1f;
    std::vector<float> expected = run(c).values;
    for (float& value : expected) value = f16_to_float(float_to_f16(value));
    const OpResult result = run(c, "fp16");
    EXPECT_TRUE(result.values == expected) << what << " " << result.kernel;
    c.inputs.push_back(quantization(random, size.n));
    const float* numbers = c.inputs.back().tensor.view().as<float>();
    c.attributes["quantize_output"] = std::string("fixed");
    const std::vector<int8_t> fixed = output<int8_t>(run(c, "fp16"), 0);
    ASSERT_EQ(fixed.size(), expected.size());
    const bool rounded = result.kernel == "cuda_wgmma_int8_linear";  // before it is quantised
    const auto width = static_cast<size_t>(size.n);
    for (size_t i = 0; i < fixed.size(); ++i)
      ASSERT_NEAR(fixed[i], to_int8_fixed(expected[i], numbers[i % width], numbers[width + i % width]), rounded ? 0 : 1)
          << what << " " << i;
    c.inputs.pop_back();
    c.attributes["quantize_output"] = std::string("rows");
    const OpResult rows = run(c, "fp16");
    for (size_t row = 0; row < static_cast<size_t>(size.rows); ++row) {
      std::vector<int8_t> values(width);
      const float scale = quantize_int8(std::span(expected).subspan(row * width, width), values.data());
      ASSERT_NEAR(output<float>(rows, 1)[row], scale, rounded ? 0 : 0x1p-8 * scale) << what << ", row " << row;
      if (rounded) {
        ASSERT_EQ(std::memcmp(rows.outputs[0].data() + row * width, values.data(), width), 0) << what << ", row " << row;
      }
      if (row > 500) row += 97;  // copies of all scales for each row
    }
  }
  expect_own_floats_quantised(linear_case(random, 300, 768, 3072, {{"activation", std::string("gelu")}}), "fp16", false);
}

TEST_F(CudaInt8, LinearWithActivations) {
  std::mt19937 random(8);
  for (const char* activation : {"gelu", "gelu_tanh", "relu", "silu", "tanh"}) {
    const OpCase c =
        linear_case(random, 35, 384, 48, {{"activation", std::string(activation)}}, true, std::string(activation) != "gelu");
    const std::vector<float> expected = run_op(reference_backend(), c).values;
    for (const char* precision : {"fp32", "fp16", "bf16"}) {
      const double epsilon = precision == std::string("fp32") ? 2e-6 : precision == std::string("fp16") ? 0x1p-10 : 0x1p-7;
      const std::vector<float> got = run(c, precision).values;
      ASSERT_EQ(got.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], epsilon * (2 + std::abs(expected[i]))) << activation << " " << precision << " " << i;
    }
  }
}

TEST_F(CudaInt8, LinearShowsScalesThatAreNotFinite) {
  std::mt19937 random(9);
  OpCase c = linear_case(random, 3, 32, 16);
  c.inputs[1].tensor = tensor_of({3}, {kNan, kInfinity, 1.0f});
  const std::vector<float> got = run(c).values;
  for (size_t n = 0; n < 16; ++n) {
    EXPECT_TRUE(std::isnan(got[n]));
    EXPECT_FALSE(std::isfinite(got[16 + n]));
    EXPECT_TRUE(std::isfinite(got[32 + n]));
  }
}

TEST_F(CudaInt8, QuantizeRowsHasTheRulesBits) {
  std::mt19937 random(10);
  for (int64_t rows : {0, 1, 3, 300})
    for (int64_t extent : {1, 15, 16, 17, 384, 1024, 1031}) {
      for (const char* precision : {"fp32", "fp16"}) {
        const Tensor x = random_tensor(random, {rows, extent}, precision == std::string("fp16") ? DType::f16 : DType::f32, 3);
        std::vector<float> values(static_cast<size_t>(rows * extent));
        for (size_t i = 0; i < values.size(); ++i)
          values[i] = x.dtype == DType::f16 ? f16_to_float(x.view().as<uint16_t>()[i]) : x.view().as<float>()[i];
        const Operand scales = quantization(random, extent);
        const float* numbers = scales.tensor.view().as<float>();
        const OpResult by_row = run({"quantize_rows", {}, {{x}}, {}, {}}, precision);
        const OpResult fixed = run({"quantize_rows", {}, {{x}, scales}, {}, {}}, precision);
        for (int64_t row = 0; row < rows; ++row) {
          std::vector<int8_t> expected(static_cast<size_t>(extent));
          const std::span own = std::span(values).subspan(static_cast<size_t>(row * extent), expected.size());
          ASSERT_EQ(output<float>(by_row, 1)[static_cast<size_t>(row)], quantize_int8(own, expected.data()))
              << rows << "x" << extent;
          ASSERT_EQ(std::memcmp(by_row.outputs[0].data() + row * extent, expected.data(), expected.size()), 0)
              << rows << "x" << extent;
          for (size_t i = 0; i < expected.size(); ++i)
            expected[i] = to_int8_fixed(own[i], numbers[i], numbers[expected.size() + i]);
          ASSERT_EQ(std::memcmp(fixed.outputs[0].data() + row * extent, expected.data(), expected.size()), 0)
              << rows << "x" << extent;
        }
      }
    }
}

TEST_F(CudaInt8, QuantizeRowsOfZerosTinyValuesAndThoseThatAreNotFinite) {
  const std::vector<float> x = {0,          -0.0f, 0, 1e-44f, -1e-44f, 0, 1,         kInfinity, 2,
                                -kInfinity, 1,     0, 1,      kNan,    2, kInfinity, 1,         -kNan};
  const OpResult result = run({"quantize_rows", {}, {{tensor_of({6, 3}, x)}}, {}, {}});
  const std::vector<int8_t> values = output<int8_t>(result, 0);
  const std::vector<float> scales = output<float>(result, 1);
  for (size_t row = 0; row < 6; ++row) {
    int8_t expected[3];
    const float scale = quantize_int8(std::span(x).subspan(row * 3, 3), expected);
    EXPECT_TRUE(scales[row] == scale || (std::isnan(scale) && std::isnan(scales[row]))) << row << ": " << scales[row];
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(values[row * 3 + i], expected[i]) << row << " " << i;
  }
}

TEST_F(CudaInt8, LayerNormsQuantiseTheirRows) {
  std::mt19937 random(11);
  for (const char* precision : {"fp32", "fp16"})
    for (int64_t rows : {0, 1, 70})
      for (int64_t extent : {1, 33, 384, 768, 1024, 1500}) {
        const Operand x = {random_tensor(random, {rows, extent})}, gamma = {random_tensor(random, {extent}), true};
        expect_own_floats_quantised({"layer_norm", {{"epsilon", 1e-5}}, {x, gamma, gamma}, {}, {}}, precision);
        expect_own_floats_quantised({"skip_layer_norm", {{"epsilon", 1e-5}}, {x, x, gamma, gamma}, {}, {}}, precision);
        std::vector<int64_t> ids(static_cast<size_t>(rows));
        for (int64_t& id : ids) id = static_cast<int64_t>(random() % 9);
        const Operand table = {random_tensor(random, {9, extent}), true}, none = {};
        expect_own_floats_quantised({"embedding_layer_norm",
                                     {{"epsilon", 1e-5}},
                                     {{indices({rows}, ids)}, none, {indices({rows}, ids)}, table, none, table, gamma, gamma},
                                     {},
                                     {}},
                                    precision);
      }
}

TEST_F(CudaInt8, LinearSkipLayerNormQuantisesItsRows) {
  if (std::static_pointer_cast<cuda::CudaDevice>(device)->capability() != 90) GTEST_SKIP() << "kernels for 9.0 alone";
  for (const auto& cases : {linear_skip_layer_norm_cases(true), large_linear_skip_layer_norm_cases(true)})
    for (const ConformanceCase& c : cases)
      if (c.op.inputs[0].tensor.dtype == DType::i8) expect_own_floats_quantised(c.op, "fp16", true, {"fixed_both"});
}

TEST_F(CudaInt8, AttentionQuantisesItsRows) {
  std::mt19937 random(12);
  for (const char* precision : {"fp32", "tf32", "fp16", "bf16"})
    for (int64_t head : {32, 40, 64, 128})
      for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{}, {1}, {5, 0, 150, 1, 16, 300}, {128, 128, 129}}) {
        int64_t tokens = 0;
        for (int64_t length : lengths) tokens += length;
        const Attributes attributes = {{"heads", int64_t{3}}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}};
        const Operand qkv = {random_tensor(random, {tokens, 3 * 3 * head})};
        expect_own_floats_quantised({"attention", attributes, {qkv}, lengths, {}}, precision);
      }
}

// ---- Attention in eight bits, as src/quant/attention_int8.h has it.

class CudaInt8Attention : public CudaInt8 {
 protected:
  // Bit for bit, save that any NaN is NaN.
  void expect_the_references_bits(const OpCase& c, DType dtype, const std::string& name) {
    const Rounded rounded(c, dtype);
    OpCase wide = rounded.wide;
    wide.attributes["precision"] = std::string("int8");
    const std::vector<float> exact = run_op(reference_backend(), wide).values;
    const Tensor expected = tensor_of({static_cast<int64_t>(exact.size())}, exact, dtype);
    const OpResult result = run(rounded.kept, "int8");
    const std::string where = fmt::format("{} in {}", name, dtype_name(dtype));
    ASSERT_EQ(result.kernel, "cuda_int8_attention") << where;
    ASSERT_EQ(result.values.size(), exact.size()) << where;
    for (size_t i = 0; i < exact.size(); ++i) {
      const float value = float_element(expected.view(), i);
      const bool same = std::isnan(value) ? std::isnan(result.values[i])
                                          : std::bit_cast<uint32_t>(value) == std::bit_cast<uint32_t>(result.values[i]);
      ASSERT_TRUE(same) << where << ": first bad element " << i << " of " << exact.size() << " is " << result.values[i]
                        << ", not " << value;
    }
  }
};

TEST_F(CudaInt8Attention, HasTheReferencesBits) {
  for (const ConformanceCase& c : attention_cases()) {
    if (!takes_in_eight_bits(c.op)) {
      EXPECT_EQ(run_device_op(cuda_backend(), device, c.op, "int8").kernel, "") << c.name;
      continue;
    }
    expect_the_references_bits(c.op, DType::f32, c.name);
  }
  for (const ConformanceCase& c : padded_attention_cases())
    EXPECT_EQ(run_device_op(cuda_backend(), device, c.op, "int8").kernel, "") << c.name;
}

TEST_F(CudaInt8Attention, OfNumbersIn16BitsHasTheReferencesBits) {
  for_each_case_in_16_bits(
      [this](const OpCase& c, DType dtype, const std::string& name) { expect_the_references_bits(c, dtype, name); });
}

TEST_F(CudaInt8Attention, OfZerosTinyAndLargeValuesHasTheReferencesBits) {
  std::mt19937 random(23);
  const Attributes attributes = {{"heads", int64_t{1}}, {"scale", 0.3}, {"packed_qkv", int64_t{1}}};
  for (const DType dtype : kStored)
    for (const float scale : {0.0f, 1e-44f, 1e-30f, 1e-7f, 1e4f, 1e6f, 1e15f})
      for (const int64_t head_dim : {24, 64}) {
        if (dtype == DType::f16 && scale > 1e4f) continue;
        expect_the_references_bits(
            {"attention", attributes, {{random_tensor(random, {183, 3 * head_dim}, DType::f32, scale)}}, {20, 13, 150}, {}},
            dtype, fmt::format("{} of {}", scale, head_dim));
      }
  // Rows of q, k or v that are zeros, or all of it; a scale of 0.
  for (const int64_t part : {0, 1, 2})
    for (const int64_t rows : {1, 150}) {
      std::vector<float> x(150 * 3 * 64);
      std::normal_distribution<float> normal;
      for (size_t i = 0; i < x.size(); ++i) {
        const auto row = static_cast<int64_t>(i) / (3 * 64), column = static_cast<int64_t>(i) % (3 * 64);
        x[i] = column / 64 == part && row < rows ? 0 : normal(random);
      }
      OpCase c{"attention", attributes, {{tensor_of({150, 3 * 64}, x)}}, {150}, {}};
      for (const DType dtype : kStored) expect_the_references_bits(c, dtype, fmt::format("{} rows of {} zero", rows, part));
      c.attributes["scale"] = 0.0;
      expect_the_references_bits(c, DType::f16, "scale 0");
    }
}

TEST_F(CudaInt8Attention, ShowsWhatIsNotFinite) {
  for_each_case_that_is_not_finite(
      [this](const OpCase& c, DType dtype, const std::string& name) { expect_the_references_bits(c, dtype, name); });
}

TEST_F(CudaInt8Attention, OfASequenceDoesNotDependOnItsNeighbours) {
  expect_no_dependence_on_neighbours([this](const OpCase& c) { return run(c, "int8").values; });
}

TEST_F(CudaInt8Attention, QuantisesItsRows) {
  std::mt19937 random(24);
  for (const int64_t head_dim : {32, 40, 64, 128})
    for (const std::vector<int64_t>& lengths : {std::vector<int64_t>{}, {1}, {5, 0, 150, 1, 16, 300}, {128, 128, 129}}) {
      int64_t tokens = 0;
      for (const int64_t length : lengths) tokens += length;
      const Attributes attributes = {{"heads", int64_t{3}}, {"scale", 0.2}, {"packed_qkv", int64_t{1}}};
      for (const DType dtype : kStored)
        expect_own_floats_quantised(
            {"attention", attributes, {{random_tensor(random, {tokens, 9 * head_dim}, dtype)}}, lengths, {}}, "int8");
    }
}

}  // namespace
}  // namespace bertie::test
