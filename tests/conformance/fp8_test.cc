// The reference's ops in e4m3 against src/quant/fp8.h and sums in double; the cpu backend has none of them and says so.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cpu/backend.h"
#include "network/quantized_output.h"
#include "quant/fp8.h"
#include "reference/backend.h"
#include "tests/conformance/cases.h"
#include "tests/support/eight_bits.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

// Each as likely, without NaN.
Tensor any_codes(std::mt19937& random, const Shape& shape) {
  std::vector<uint8_t> codes(static_cast<size_t>(shape.elements()));
  for (uint8_t& code : codes) code = static_cast<uint8_t>(random() % 0x7f | (random() % 2) << 7);
  return codes_of(shape, std::move(codes));
}

double decoded(const Tensor& codes, int64_t i) { return fp8_to_float(codes.view().as<uint8_t>()[i]); }

TEST(Fp8Conformance, LinearIsTheExactProductScaled) {
  std::mt19937 random(1);
  for (const int64_t rows : {0, 1, 3})
    for (const int64_t k : {1, 33})
      for (const bool one_scale : {false, true}) {
        const int64_t n = 5;
        const Operand x = {any_codes(random, {rows, k})}, weight = {any_codes(random, {n, k}), true},
                      x_scale = {one_scale ? tensor_of({}, {0.25f}) : random_tensor(random, {rows})},
                      w_scale = {random_tensor(random, {n}), true}, bias = {random_tensor(random, {n}), true},
                      residual = {random_tensor(random, {rows, n})};
        const OpCase c{
            "fp8_linear", {{"activation", std::string("relu")}}, {x, x_scale, weight, w_scale, bias, residual}, {}, {}};
        const OpResult result = run_op(reference_backend(), c);
        ASSERT_EQ(result.values.size(), static_cast<size_t>(rows * n)) << result.refusal;
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t column = 0; column < n; ++column) {
            double sum = 0, terms = 0;
            for (int64_t i = 0; i < k; ++i) {
              const double term = decoded(x.tensor, row * k + i) * decoded(weight.tensor, column * k + i);
              sum += term;
              terms += std::abs(term);
            }
            const double scale = static_cast<double>(x_scale.tensor.view().as<float>()[one_scale ? 0 : row]) *
                                 w_scale.tensor.view().as<float>()[column];
            const double added = bias.tensor.view().as<float>()[column];
            const double y = std::max(0.0, sum * scale + added) + residual.tensor.view().as<float>()[row * n + column];
            ASSERT_NEAR(result.values[static_cast<size_t>(row * n + column)], y,
                        0x1p-22 * (terms * std::abs(scale) + std::abs(added) + std::abs(y) + 1));
          }
        EXPECT_TRUE(run_op(cpu_backend(), c).kernel.empty());
      }
}

// [2, extent]: some values are beyond 448, and most are not.
Operand quantization(std::mt19937& random, int64_t extent) {
  std::vector<float> numbers(static_cast<size_t>(2 * extent));
  for (size_t i = 0; i < numbers.size(); ++i) {
    const float share = static_cast<float>(random() % 1000) / 1000.0f;
    numbers[i] = i < numbers.size() / 2 ? 5 + 300 * share : 80 * share - 40;
  }
  return {tensor_of({2, extent}, numbers), true};
}

TEST(Fp8Conformance, AttentionIsNearThatInFloat32) {
  std::vector<ConformanceCase> cases = attention_cases();
  for (ConformanceCase& c : padded_attention_cases()) cases.push_back(std::move(c));
  for (const ConformanceCase& c : cases) {
    OpCase eight_bits = c.op;
    eight_bits.attributes["precision"] = std::string("fp8");
    const OpResult exact = run_op(reference_backend(), c.op), result = run_op(reference_backend(), eight_bits);
    ASSERT_EQ(result.values.size(), exact.values.size()) << c.name;
    double error = 0, size = 0;
    for (size_t i = 0; i < exact.values.size(); ++i) {
      error += std::pow(static_cast<double>(exact.values[i]) - result.values[i], 2);
      size += std::pow(static_cast<double>(exact.values[i]), 2);
    }
    EXPECT_LE(std::sqrt(error), 0.05 * std::sqrt(size)) << c.name;
    EXPECT_TRUE(run_op(cpu_backend(), eight_bits).kernel.empty()) << c.name;
  }
}

// What the op gives in eight bits, in every mode, is what fp8.h makes of what it gives as floats.
TEST(Fp8Conformance, RowsAreQuantisedAsTheRuleSays) {
  std::mt19937 random(2);
  for (const int64_t extent : {1, 17, 48}) {
    const int64_t rows = 7;
    const Operand x = {random_tensor(random, {rows, extent})}, gamma = {random_tensor(random, {extent}), true};
    for (const char* op : {"quantize_rows", "layer_norm"})
      for (const char* mode : {"rows", "fixed"}) {
        const bool norm = op == std::string("layer_norm"), fixed = mode == std::string("fixed");
        OpCase c{op, {{"quantize_element", std::string("e4m3")}}, {x}, {}, {}};
        std::vector<float> floats(x.tensor.view().as<float>(), x.tensor.view().as<float>() + rows * extent);
        if (norm) {
          c.inputs = {x, gamma, gamma};
          c.attributes = {{"epsilon", 1e-5}};
          floats = run_op(reference_backend(), c).values;
          c.attributes["quantize_element"] = std::string("e4m3");
          c.attributes["quantize_output"] = std::string(mode);
        }
        const Operand numbers = quantization(random, extent);
        if (fixed) c.inputs.push_back(numbers);
        std::vector<uint8_t> codes(floats.size());
        std::vector<float> scales(static_cast<size_t>(rows));
        const float* q = numbers.tensor.view().as<float>();
        for (int64_t row = 0; row < rows; ++row) {
          const auto first = static_cast<size_t>(row * extent), width = static_cast<size_t>(extent);
          if (!fixed)
            scales[static_cast<size_t>(row)] = quantize_fp8(std::span(floats).subspan(first, width), codes.data() + first);
          for (size_t i = 0; fixed && i < width; ++i)
            codes[first + i] = float_to_fp8(std::fma(floats[first + i], q[i], q[width + i]));
        }
        BuiltCase built(c);
        ThreadPool pool(1);
        EXPECT_EQ(built.network.value(built.node().outputs[0]).dtype, DType::u8);
        for (const KernelEntry& entry : cpu_backend().kernels())
          if (entry.op == op) {
            EXPECT_TRUE(std::holds_alternative<Refusal>(entry.prepare({built.network, built.node(), pool}))) << entry.name;
          }
        for (const KernelEntry& entry : reference_backend().kernels()) {
          if (entry.op != op) continue;
          PrepareResult prepared = entry.prepare({built.network, built.node(), pool});
          ASSERT_TRUE(std::holds_alternative<Preparation>(prepared));
          std::vector<uint8_t> own(floats.size(), 0xff);
          std::vector<float> own_scales(static_cast<size_t>(rows), -1);
          std::vector<MutableTensorView> outputs = {{own.data(), DType::u8, {rows, extent}}};
          if (!fixed) outputs.push_back({own_scales.data(), DType::f32, {rows}});
          std::vector<std::byte> workspace(static_cast<size_t>(extent) * sizeof(float));
          std::get<Preparation>(prepared).kernel->run({built.views, outputs, built.batch, workspace, pool});
          EXPECT_EQ(own, codes) << op << " " << mode << " " << extent;
          if (!fixed) {
            EXPECT_EQ(own_scales, scales) << op << " " << extent;
          }
        }
      }
  }
}

}  // namespace
}  // namespace bertie::test
