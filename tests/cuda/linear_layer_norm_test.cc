// linear_layer_norm by its launcher against layer norms in double, at every width that it has, few rows among them.
#include "cuda/kernels/linear_layer_norm.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "quant/fp8.h"
#include "quant/int8.h"
#include "tests/cuda/hopper_linear.h"

namespace bertie::test {
namespace {

using cuda::Element;
using cuda::LinearLayerNormParams;
using cuda::LinearOperands;

constexpr float kEpsilon = 1e-5f;
constexpr int64_t kMostRows = 5000;

template <typename T>
Tensor tensor_of(DType dtype, const Shape& shape, const std::vector<T>& elements) {
  const auto storage = std::make_shared<std::vector<T>>(elements);
  return {dtype, shape, std::shared_ptr<const void>(storage, storage->data())};
}

// As it lies on the device, and as numbers.
struct Matrix {
  std::vector<double> numbers;
  std::shared_ptr<const DeviceBuffer> there;
};

struct Vector {
  std::vector<float> numbers;
  std::shared_ptr<const DeviceBuffer> there;
  const float* data() const { return reinterpret_cast<const float*>(there->data()); }
};

// `operands`: those of x and weight; `dtype`: of floats.
struct Problem {
  LinearOperands operands;
  DType dtype;
  int64_t columns, depth;
  bool one_scale = false, bias = true;
  std::string name() const {
    const char* kind = operands == LinearOperands::int8  ? "int8"
                       : operands == LinearOperands::fp8 ? "fp8"
                                                         : dtype_name(dtype).data();
    return fmt::format("{}, {} columns, {} deep", kind, columns, depth);
  }
};

// Ordered as the numbers are.
int ordered(uint8_t code) { return code & 0x80 ? -(code & 0x7f) : code & 0x7f; }

// Operands of as many rows as any launch has: fewer are the first of them.
struct LayerNormOperands {
  explicit LayerNormOperands(const Problem& of) : problem(of) {}

  Problem problem;
  Matrix x, weight, residual;
  Vector bias, gamma, beta, x_scale, w_scale, quantization;

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
      y[n] = (y[n] - mean) / std::sqrt(variance + kEpsilon) * gamma.numbers[n] + beta.numbers[n];
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
    params.epsilon = kEpsilon;
    params.columns = problem.columns;
    params.depth = problem.depth;
    return params;
  }

 private:
  std::map<int64_t, std::vector<double>> rows_;
};

// Those that are compared: at both ends, and some between.
std::vector<int64_t> some_of(int64_t rows) {
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

  Matrix floats(const Shape& shape, const std::vector<float>& values, DType dtype) {
    return {rounded(values, dtype), own->upload(Tensor::from_floats(shape, values), dtype)};
  }
  Vector vector(const std::vector<float>& values) {
    return {values, own->upload(Tensor::from_floats({static_cast<int64_t>(values.size())}, values), DType::f32)};
  }
  // In eight bits, or as floats of standard deviation `scale`.
  Matrix random_matrix(std::mt19937& random, LinearOperands kind, const Shape& shape, DType dtype, float scale) {
    const auto count = static_cast<size_t>(shape.elements());
    if (kind == LinearOperands::elements) return floats(shape, random_floats(random, shape.elements(), scale), dtype);
    Matrix result;
    if (kind == LinearOperands::int8) {
      std::vector<int8_t> values(count);
      for (int8_t& value : values) value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
      result.numbers.assign(values.begin(), values.end());
      result.there = own->upload(tensor_of(DType::i8, shape, values), DType::i8);
      return result;
    }
    std::vector<uint8_t> codes;
    for (const float value : random_floats(random, shape.elements(), 8)) {
      codes.push_back(float_to_fp8(value));
      result.numbers.push_back(fp8_to_float(codes.back()));
    }
    result.there = own->upload(tensor_of(DType::u8, shape, codes), DType::u8);
    return result;
  }

  LayerNormOperands random_operands(const Problem& problem) {
    std::mt19937 random(static_cast<unsigned>(problem.columns * 31 + problem.depth));
    const int64_t columns = problem.columns, depth = problem.depth;
    const auto scales = [&](int64_t count, float scale) {
      std::vector<float> values = random_floats(random, count, 1);
      for (float& value : values) value = scale * (1 + 0.5f * std::tanh(value));
      return vector(values);
    };
    const bool fp8 = problem.operands == LinearOperands::fp8;
    LayerNormOperands operands(problem);
    operands.x = random_matrix(random, problem.operands, {kMostRows, depth}, problem.dtype, 1);
    operands.weight = random_matrix(random, problem.operands, {columns, depth}, problem.dtype, 0.06f);
    operands.residual = floats({kMostRows, columns}, random_floats(random, kMostRows * columns, 1), problem.dtype);
    operands.bias = vector(random_floats(random, columns, 1));
    operands.gamma = scales(columns, 1);
    operands.beta = vector(random_floats(random, columns, 0.5f));
    operands.x_scale = scales(problem.one_scale ? 1 : kMostRows, fp8 ? 0.1f : 0.01f);
    operands.w_scale = scales(columns, fp8 ? 0.01f : 0.001f);
    // Offsets of codes of e4m3 would cancel to numbers whose neighbours are close.
    std::vector<float> quantization = scales(2 * columns, fp8 ? 60.0f : 25.0f).numbers;
    for (size_t i = quantization.size() / 2; i < quantization.size(); ++i) quantization[i] = fp8 ? 0 : quantization[i] - 25;
    operands.quantization = vector(quantization);
    return operands;
  }

  void check(LayerNormOperands& operands, int64_t rows, int64_t live, bool quantizes) {
    const Problem& problem = operands.problem;
    const auto columns = static_cast<size_t>(problem.columns), count = static_cast<size_t>(rows) * columns;
    const bool fp8 = problem.operands == LinearOperands::fp8;
    const std::string what =
        fmt::format("{}, {} of {} rows{}", problem.name(), live, rows, quantizes ? ", in eight bits too" : "");
    const int32_t numbers[] = {static_cast<int32_t>(live), kNoOverflow};
    const DeviceBuffer numbers_there(own, sizeof numbers, "a test"), y(own, count * 2, "a test"), values(own, count, "a test");
    stream->copy(numbers_there.data(), numbers, sizeof numbers);
    stream->fill(y.data(), 0xff, y.bytes());
    LinearLayerNormParams params = operands.params();
    params.y = y.data();
    params.rows = rows;
    params.mailboxes = stream->mailboxes();
    if (quantizes) {
      params.quantized.values = reinterpret_cast<int8_t*>(values.data());
      params.quantized.e4m3 = fp8;
      params.quantized.quantization = operands.quantization.data();
    }
    set_numbers(params, numbers_there);
    own->launch(launcher, params, *stream);
    std::vector<uint16_t> result(count);
    std::vector<int8_t> codes(count);
    int32_t after[2];
    stream->copy(result.data(), y.data(), y.bytes());
    stream->copy(codes.data(), values.data(), values.bytes());
    stream->copy(after, numbers_there.data(), sizeof after);
    stream->synchronize();
    EXPECT_EQ(after[1], kNoOverflow) << what;
    // Sums of products of e4m3 keep about fourteen bits on matrix units.
    const double epsilon = problem.dtype == DType::bf16 ? 1.6e-2 : fp8 ? 1e-2 : 2e-3;
    for (const int64_t row : some_of(live)) {
      const std::vector<double>& expected = operands.row(row);
      double largest = 0;
      for (const double value : expected) largest = std::max(largest, std::abs(value));
      for (size_t n = 0; n < columns; ++n) {
        const size_t i = static_cast<size_t>(row) * columns + n;
        const float value = problem.dtype == DType::f16 ? f16_to_float(result[i]) : bf16_to_float(result[i]);
        ASSERT_LE(std::abs(value - expected[n]), epsilon * largest)
            << what << ", row " << row << ", column " << n << ": " << value << ", not " << expected[n];
        if (!quantizes) continue;
        const float inverse = operands.quantization.numbers[n], offset = operands.quantization.numbers[columns + n];
        const int code = fp8 ? ordered(static_cast<uint8_t>(codes[i])) : codes[i],
                  own_code = fp8 ? ordered(to_fp8_fixed(value, inverse, offset)) : to_int8_fixed(value, inverse, offset);
        ASSERT_NEAR(code, own_code, 1) << what << ", row " << row << ", column " << n << ": " << value;
      }
    }
  }

  void check_rows(const Problem& problem, std::initializer_list<bool> quantizes = {false}) {
    LayerNormOperands operands = random_operands(problem);
    for (const int64_t rows : {int64_t{1}, int64_t{127}, int64_t{128}, int64_t{129}, int64_t{1000}, kMostRows})
      for (const int64_t live : {rows, (rows + 1) / 2})
        for (const bool also : quantizes) check(operands, rows, live, also);
  }

  cuda::Launcher<LinearLayerNormParams> launcher;
};

constexpr int64_t kColumns[] = {768, 1024};

TEST_F(CudaLinearLayerNorm, OfEveryWidth) {
  for (const int64_t columns : kColumns)
    for (const int64_t depth : {384, 768, 776, 3072})
      check_rows({LinearOperands::elements, DType::f16, columns, depth, false, depth != 776});
}

TEST_F(CudaLinearLayerNorm, InBfloat16) {
  for (const int64_t columns : kColumns) check_rows({LinearOperands::elements, DType::bf16, columns, 768});
}

TEST_F(CudaLinearLayerNorm, InInt8) {
  for (const int64_t columns : kColumns)
    for (const int64_t depth : {768, 3072})
      check_rows({LinearOperands::int8, DType::f16, columns, depth, depth == 768, columns != 1024}, {false, true});
}

TEST_F(CudaLinearLayerNorm, InFp8) {
  for (const int64_t columns : kColumns)
    for (const int64_t depth : {768, 3072})
      check_rows({LinearOperands::fp8, DType::f16, columns, depth, depth == 768, columns != 1024}, {false, true});
}

// All sums are multiples of 0.5, which f16 holds there: mean squares less squared means would be off by more than the variance.
TEST_F(CudaLinearLayerNorm, OfLargeMeanBesideSmallVariance) {
  std::mt19937 random(8);
  for (const int64_t columns : kColumns) {
    const int64_t rows = 300, depth = 384;
    const auto halves = [&](int64_t count, unsigned of, float shift) {
      std::vector<float> values(static_cast<size_t>(count));
      for (float& value : values) {
        const unsigned drawn = random() % of;
        value = shift + (drawn == 0 ? 0.5f : drawn == 1 ? -0.5f : 0.0f);
      }
      return values;
    };
    std::vector<float> x = halves(rows * depth, 3, 0);
    for (float& value : x) value *= 2;
    LayerNormOperands operands({LinearOperands::elements, DType::f16, columns, depth});
    operands.x = floats({rows, depth}, x, DType::f16);
    operands.weight = floats({columns, depth}, halves(columns * depth, 200, 0), DType::f16);
    operands.residual = floats({rows, columns}, halves(rows * columns, 3, 0), DType::f16);
    operands.bias = vector(halves(columns, 3, 1000));
    operands.gamma = vector(std::vector<float>(static_cast<size_t>(columns), 1));
    operands.beta = vector(std::vector<float>(static_cast<size_t>(columns), 0));
    check(operands, rows, rows, false);
  }
}

TEST_F(CudaLinearLayerNorm, TellOfOverflow) {
  const int64_t rows = 300, live = 140, depth = 384;
  for (const int64_t columns : kColumns)
    for (const float sign : {1.0f, -1.0f})
      for (const int64_t bad : {int64_t{3}, int64_t{139}, int64_t{140}, int64_t{299}}) {
        std::vector<float> x(static_cast<size_t>(rows * depth), 0), weight(static_cast<size_t>(columns * depth), 0);
        std::fill_n(x.begin() + bad * depth, depth, sign * 1000);
        std::fill_n(weight.end() - depth, depth, 1);  // of the last column alone
        const std::vector<float> ones(static_cast<size_t>(columns), 1);
        LayerNormOperands operands({LinearOperands::elements, DType::f16, columns, depth, false, false});
        operands.x = floats({rows, depth}, x, DType::f16);
        operands.weight = floats({columns, depth}, weight, DType::f16);
        operands.residual = floats({rows, columns}, std::vector<float>(static_cast<size_t>(rows * columns), 1), DType::f16);
        operands.gamma = operands.beta = vector(ones);
        const int32_t numbers[] = {static_cast<int32_t>(live), kNoOverflow};
        const DeviceBuffer numbers_there(own, sizeof numbers, "a test"),
            y(own, static_cast<size_t>(rows * columns) * 2, "a test");
        stream->copy(numbers_there.data(), numbers, sizeof numbers);
        LinearLayerNormParams params = operands.params();
        params.y = y.data();
        params.rows = rows;
        params.mailboxes = stream->mailboxes();
        set_numbers(params, numbers_there);
        own->launch(launcher, params, *stream);
        int32_t after[2];
        stream->copy(after, numbers_there.data(), sizeof after);
        stream->synchronize();
        EXPECT_EQ(after[1], bad < live ? kStep : kNoOverflow) << columns << " columns, row " << bad;
      }
}

TEST(LinearLayerNorm, TakesWidthsOfWholeTilesAndPaysWhereTheyFillTheDevice) {
  EXPECT_TRUE(cuda::linear_layer_norm_takes(768, 768));
  EXPECT_FALSE(cuda::linear_layer_norm_takes(640, 768));
  EXPECT_FALSE(cuda::linear_layer_norm_takes(768, 752));
  EXPECT_FALSE(cuda::linear_layer_norm_takes(768, 776));
  EXPECT_FALSE(cuda::linear_layer_norm_takes(384, 768));
  const auto pays = [](int64_t rows, int64_t columns, LinearOperands operands) {
    return cuda::linear_layer_norm_pays(rows, columns, operands, 132);
  };
  EXPECT_TRUE(pays(12288, 768, LinearOperands::elements));
  EXPECT_FALSE(pays(4096, 768, LinearOperands::elements));
  EXPECT_FALSE(pays(0, 768, LinearOperands::elements));
  EXPECT_FALSE(pays(12288, 768, LinearOperands::fp8));
  EXPECT_TRUE(pays(49152, 768, LinearOperands::int8));
  EXPECT_TRUE(pays(22784, 1024, LinearOperands::fp8));
}

}  // namespace
}  // namespace bertie::test
