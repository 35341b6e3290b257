// Operands of a linear layer and of the layer norm behind it, and what should come of them in double: what tests of the kernels that have both share.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "cuda/kernels/linear_layer_norm.h"
#include "quant/fp8.h"
#include "quant/int8.h"
#include "tests/cuda/hopper_linear.h"
#include "tests/support/eight_bits.h"

namespace bertie::test {

using cuda::Element;
using cuda::LinearLayerNormParams;
using cuda::LinearOperands;

inline constexpr float kLayerNormEpsilon = 1e-5f;

// As it lies on the device, and as numbers.
struct DeviceMatrix {
  std::vector<double> numbers;
  std::shared_ptr<const DeviceBuffer> there;
};

struct DeviceVector {
  std::vector<float> numbers;
  std::shared_ptr<const DeviceBuffer> there;
  const float* data() const { return reinterpret_cast<const float*>(there->data()); }
};

// `operands`: those of x and weight; `dtype`: of floats; `rows`: as many as any launch has, fewer are the first of them.
struct LinearLayerNormProblem {
  LinearOperands operands;
  DType dtype;
  int64_t columns, depth;
  bool one_scale = false, bias = true;
  int64_t rows = 5000;
  std::string name() const {
    const char* kind = operands == LinearOperands::int8  ? "int8"
                       : operands == LinearOperands::fp8 ? "fp8"
                                                         : dtype_name(dtype).data();
    return fmt::format("{}, {} columns, {} deep", kind, columns, depth);
  }
};

struct LinearLayerNormOperands {
  explicit LinearLayerNormOperands(const LinearLayerNormProblem& of) : problem(of) {}

  LinearLayerNormProblem problem;
  DeviceMatrix x, weight, residual;
  DeviceVector bias, gamma, beta, x_scale, w_scale, quantization;

  // The row as it should be; each is computed once.
  const std::vector<double>& row(int64_t index) {
    const auto [found, fresh] = rows_.try_emplace(index);
    if (!fresh) return found->second;
    const int64_t columns = problem.columns, depth = problem.depth;
    std::vector<double>& y = found->second;
    for (int64_t n = 0; n < columns; ++n) {
      double sum = 0;
      const double *a = x.numbers.data() + index * depth, *b = weight.numbers.data() + n * depth;
      for (int64_t k = 0; k < depth; ++k) sum += a[k] * b[k];
      const auto column = static_cast<size_t>(n);
      if (problem.operands != LinearOperands::elements)
        sum *= static_cast<double>(x_scale.numbers[problem.one_scale ? 0 : static_cast<size_t>(index)]) * w_scale.numbers[column];
      if (problem.bias) sum += bias.numbers[column];
      y.push_back(rounded({static_cast<float>(sum)}, problem.dtype)[0] +
                  residual.numbers[static_cast<size_t>(index * columns + n)]);
    }
    double mean = 0, variance = 0;
    for (const double value : y) mean += value / static_cast<double>(columns);
    for (const double value : y) variance += (value - mean) * (value - mean) / static_cast<double>(columns);
    for (size_t n = 0; n < y.size(); ++n)
      y[n] = (y[n] - mean) / std::sqrt(variance + kLayerNormEpsilon) * gamma.numbers[n] + beta.numbers[n];
    return y;
  }

  LinearLayerNormParams params() const {
    LinearLayerNormParams params{};
    params.x = x.there->data();
    params.weight = weight.there->data();
    params.residual = residual.there->data();
    if (problem.bias) params.bias = bias.data();
    params.gamma = gamma.data();
    params.beta = beta.data();
    params.operands = problem.operands;
    params.element = problem.dtype == DType::f16 ? Element::f16 : Element::bf16;
    if (problem.operands != LinearOperands::elements) {
      params.x_scale = x_scale.data();
      params.one_scale = problem.one_scale;
      params.w_scale = w_scale.data();
    }
    params.epsilon = kLayerNormEpsilon;
    params.columns = problem.columns;
    params.depth = problem.depth;
    return params;
  }

 private:
  std::map<int64_t, std::vector<double>> rows_;
};

// A launch's memory beside its operands. Until it is checked nobody waits for it.
struct LinearLayerNormLaunch {
  LinearLayerNormOperands& operands;
  int64_t rows, live;
  bool quantizes;
  DeviceBuffer numbers, y, values;

  std::string name() const {
    return fmt::format("{}, {} of {} rows{}", operands.problem.name(), live, rows, quantizes ? ", in eight bits too" : "");
  }
};

// Those that are compared: at both ends, and some between.
inline std::vector<int64_t> some_rows_of(int64_t rows) {
  std::vector<int64_t> some;
  for (int64_t row = 0; row < rows; ++row)
    if (row < 2 || row + 4 >= rows || row % std::max<int64_t>(1, rows / 20) == 0) some.push_back(row);
  return some;
}

class CudaLinearLayerNorm : public CudaLinear {
 protected:
  void SetUp() override {
    CudaLinear::SetUp();
    if (!IsSkipped()) launcher = own->launcher<LinearLayerNormParams>("linear_layer_norm");
  }

  DeviceMatrix floats(const Shape& shape, const std::vector<float>& values, DType dtype) {
    return {rounded(values, dtype), own->upload(Tensor::from_floats(shape, values), dtype)};
  }
  DeviceVector vector(const std::vector<float>& values) {
    return {values, own->upload(Tensor::from_floats({static_cast<int64_t>(values.size())}, values), DType::f32)};
  }
  // In eight bits, or as floats of standard deviation `scale`.
  DeviceMatrix random_matrix(std::mt19937& random, LinearOperands kind, const Shape& shape, DType dtype, float scale) {
    if (kind == LinearOperands::elements) return floats(shape, random_floats(random, shape.elements(), scale), dtype);
    const bool fp8 = kind == LinearOperands::fp8;
    const Tensor tensor = fp8 ? random_codes(random, shape, 8) : random_integers(random, shape);
    DeviceMatrix result{{}, own->upload(tensor, tensor.dtype)};
    for (int64_t i = 0; i < shape.elements(); ++i)
      result.numbers.push_back(fp8 ? fp8_to_float(tensor.view().as<uint8_t>()[i]) : tensor.view().as<int8_t>()[i]);
    return result;
  }

  LinearLayerNormOperands random_operands(const LinearLayerNormProblem& problem) {
    std::mt19937 random(static_cast<unsigned>(problem.columns * 31 + problem.depth));
    const int64_t rows = problem.rows, columns = problem.columns, depth = problem.depth;
    const auto scales = [&](int64_t count, float scale) {
      std::vector<float> values = random_floats(random, count, 1);
      for (float& value : values) value = scale * (1 + 0.5f * std::tanh(value));
      return vector(values);
    };
    const bool fp8 = problem.operands == LinearOperands::fp8;
    LinearLayerNormOperands operands(problem);
    operands.x = random_matrix(random, problem.operands, {rows, depth}, problem.dtype, 1);
    operands.weight = random_matrix(random, problem.operands, {columns, depth}, problem.dtype, 0.06f);
    operands.residual = floats({rows, columns}, random_floats(random, rows * columns, 1), problem.dtype);
    operands.bias = vector(random_floats(random, columns, 1));
    operands.gamma = scales(columns, 1);
    operands.beta = vector(random_floats(random, columns, 0.5f));
    operands.x_scale = scales(problem.one_scale ? 1 : rows, fp8 ? 0.1f : 0.01f);
    operands.w_scale = scales(columns, fp8 ? 0.01f : 0.001f);
    // Offsets of codes of e4m3 would cancel to numbers whose neighbours are close.
    std::vector<float> quantization = scales(2 * columns, fp8 ? 60.0f : 25.0f).numbers;
    for (size_t i = quantization.size() / 2; i < quantization.size(); ++i) quantization[i] = fp8 ? 0 : quantization[i] - 25;
    operands.quantization = vector(quantization);
    return operands;
  }

  LinearLayerNormLaunch prepare(LinearLayerNormOperands& operands, int64_t rows, int64_t live, bool quantizes) {
    const auto count = static_cast<size_t>(rows * operands.problem.columns);
    const int32_t numbers[] = {static_cast<int32_t>(live), kNoOverflow};
    LinearLayerNormLaunch launch{operands,
                                 rows,
                                 live,
                                 quantizes,
                                 DeviceBuffer(own, sizeof numbers, "a test"),
                                 DeviceBuffer(own, count * 2, "a test"),
                                 DeviceBuffer(own, count, "a test")};
    stream->copy(launch.numbers.data(), numbers, sizeof numbers);
    stream->fill(launch.y.data(), 0xff, launch.y.bytes());
    return launch;
  }

  LinearLayerNormParams params_of(const LinearLayerNormLaunch& launch) {
    LinearLayerNormParams params = launch.operands.params();
    params.y = launch.y.data();
    params.rows = launch.rows;
    params.mailboxes = stream->mailboxes();
    if (launch.quantizes) {
      params.quantized.values = reinterpret_cast<int8_t*>(launch.values.data());
      params.quantized.e4m3 = params.operands == LinearOperands::fp8;
      params.quantized.quantization = launch.operands.quantization.data();
    }
    set_numbers(params, launch.numbers);
    return params;
  }
  void start(const LinearLayerNormLaunch& launch) { own->launch(launcher, params_of(launch), *stream); }

  // The step that overflowed first, once it is there.
  int32_t overflow(const LinearLayerNormLaunch& launch) {
    int32_t after[2];
    stream->copy(after, launch.numbers.data(), sizeof after);
    stream->synchronize();
    return after[1];
  }

  void check(const LinearLayerNormLaunch& launch) {
    const LinearLayerNormProblem& problem = launch.operands.problem;
    const auto columns = static_cast<size_t>(problem.columns), count = static_cast<size_t>(launch.rows) * columns;
    const bool fp8 = problem.operands == LinearOperands::fp8;
    const std::string what = launch.name();
    std::vector<uint16_t> result(count);
    std::vector<int8_t> codes(count);
    stream->copy(result.data(), launch.y.data(), launch.y.bytes());
    if (launch.quantizes) stream->copy(codes.data(), launch.values.data(), launch.values.bytes());
    EXPECT_EQ(overflow(launch), kNoOverflow) << what;
    // Sums of products of e4m3 keep about fourteen bits on matrix units.
    const double epsilon = problem.dtype == DType::bf16 ? 1.6e-2 : fp8 ? 1e-2 : 2e-3;
    for (const int64_t row : some_rows_of(launch.live)) {
      const std::vector<double>& expected = launch.operands.row(row);
      double largest = 0;
      for (const double value : expected) largest = std::max(largest, std::abs(value));
      for (size_t n = 0; n < columns; ++n) {
        const size_t i = static_cast<size_t>(row) * columns + n;
        const float value = problem.dtype == DType::f16 ? f16_to_float(result[i]) : bf16_to_float(result[i]);
        ASSERT_LE(std::abs(value - expected[n]), epsilon * largest)
            << what << ", row " << row << ", column " << n << ": " << value << ", not " << expected[n];
        if (!launch.quantizes) continue;
        const std::vector<float>& quantization = launch.operands.quantization.numbers;
        const float inverse = quantization[n], offset = quantization[columns + n];
        const int code = fp8 ? ordered(static_cast<uint8_t>(codes[i])) : codes[i],
                  own_code = fp8 ? ordered(to_fp8_fixed(value, inverse, offset)) : to_int8_fixed(value, inverse, offset);
        ASSERT_NEAR(code, own_code, 1) << what << ", row " << row << ", column " << n << ": " << value;
      }
    }
  }

  void check(LinearLayerNormOperands& operands, int64_t rows, int64_t live, bool quantizes) {
    const LinearLayerNormLaunch launch = prepare(operands, rows, live, quantizes);
    start(launch);
    check(launch);
  }

  void check_rows(const LinearLayerNormProblem& problem, std::initializer_list<bool> quantizes = {false},
                  std::initializer_list<int64_t> numbers_of_rows = {1, 127, 128, 129, 1000, 5000}) {
    LinearLayerNormOperands operands = random_operands(problem);
    for (const int64_t rows : numbers_of_rows)
      for (const int64_t live : {rows, (rows + 1) / 2})
        for (const bool also : quantizes) check(operands, rows, live, also);
  }

  cuda::Launcher<LinearLayerNormParams> launcher;
};

}  // namespace bertie::test
