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
#include "tests/support/eight_bits.h"

namespace bertie::test {
namespace {

using cuda::Element;
using cuda::LinearLayerNormParams;
using cuda::LinearOperands;

constexpr float kEpsilon = 1e-5f;

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

// `operands`: those of x and weight; `dtype`: of floats; `rows`: as many as any launch has, fewer are the first of them.
struct Problem {
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

// A launch's memory beside its operands. Until it is checked nobody waits for it.
struct Launch {
  LayerNormOperands& operands;
  int64_t rows, live;
  bool quantizes;
  DeviceBuffer numbers, y, values;

  std::string name() const {
    return fmt::format("{}, {} of {} rows{}", operands.problem.name(), live, rows, quantizes ? ", in eight bits too" : "");
  }
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
    if (kind == LinearOperands::elements) return floats(shape, random_floats(random, shape.elements(), scale), dtype);
    const bool fp8 = kind == LinearOperands::fp8;
    const Tensor tensor = fp8 ? random_codes(random, shape, 8) : random_integers(random, shape);
    Matrix result{{}, own->upload(tensor, tensor.dtype)};
    for (int64_t i = 0; i < shape.elements(); ++i)
      result.numbers.push_back(fp8 ? fp8_to_float(tensor.view().as<uint8_t>()[i]) : tensor.view().as<int8_t>()[i]);
    return result;
  }

  LayerNormOperands random_operands(const Problem& problem) {
    std::mt19937 random(static_cast<unsigned>(problem.columns * 31 + problem.depth));
    const int64_t rows = problem.rows, columns = problem.columns, depth = problem.depth;
    const auto scales = [&](int64_t count, float scale) {
      std::vector<float> values = random_floats(random, count, 1);
      for (float& value : values) value = scale * (1 + 0.5f * std::tanh(value));
      return vector(values);
    };
    const bool fp8 = problem.operands == LinearOperands::fp8;
    LayerNormOperands operands(problem);
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

  Launch prepare(LayerNormOperands& operands, int64_t rows, int64_t live, bool quantizes) {
    const auto count = static_cast<size_t>(rows * operands.problem.columns);
    const int32_t numbers[] = {static_cast<int32_t>(live), kNoOverflow};
    Launch launch{operands,
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

  void start(const Launch& launch) {
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
    own->launch(launcher, params, *stream);
  }

  // The step that overflowed first, once it is there.
  int32_t overflow(const Launch& launch) {
    int32_t after[2];
    stream->copy(after, launch.numbers.data(), sizeof after);
    stream->synchronize();
    return after[1];
  }

  void check(const Launch& launch) {
    const Problem& problem = launch.operands.problem;
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
    for (const int64_t row : some_of(launch.live)) {
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

  void check(LayerNormOperands& operands, int64_t rows, int64_t live, bool quantizes) {
    const Launch launch = prepare(operands, rows, live, quantizes);
    start(launch);
    check(launch);
  }

  void check_rows(const Problem& problem, std::initializer_list<bool> quantizes = {false},
                  std::initializer_list<int64_t> numbers_of_rows = {1, 127, 128, 129, 1000, 5000}) {
    LayerNormOperands operands = random_operands(problem);
    for (const int64_t rows : numbers_of_rows)
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

// A group takes several tiles, so that within a launch its mailboxes are used again. The fewer rows are where, of 768 columns, groups of four
// blocks with 192 each take fewer turns than groups of three.
TEST_F(CudaLinearLayerNorm, ManyTilesAGroup) {
  for (const int64_t columns : kColumns) {
    const auto check_many = [&](LinearOperands operands, DType dtype, std::initializer_list<bool> quantizes) {
      check_rows({operands, dtype, columns, 768, false, true, 17000}, quantizes, {17000, 12672});
    };
    check_many(LinearOperands::elements, DType::f16, {false});
    check_many(LinearOperands::elements, DType::bf16, {false});
    check_many(LinearOperands::int8, DType::f16, {false, true});
    check_many(LinearOperands::fp8, DType::f16, {false, true});
  }
}

// They share mailboxes, and each begins while the one before ends.
TEST_F(CudaLinearLayerNorm, LaunchesFollowEachOther) {
  const int64_t most = 17000;
  LayerNormOperands halves = random_operands({LinearOperands::elements, DType::f16, 768, 384, false, true, most}),
                    bf16 = random_operands({LinearOperands::elements, DType::bf16, 1024, 768, false, true, most}),
                    int8 = random_operands({LinearOperands::int8, DType::f16, 1024, 1024, true, true, most}),
                    fp8 = random_operands({LinearOperands::fp8, DType::f16, 768, 768, false, false, most});
  struct Size {
    LayerNormOperands& operands;
    int64_t rows, live;
    bool quantizes;
  };
  std::vector<Launch> launches;
  for (const Size& size :
       {Size{halves, 1, 1, false}, Size{halves, most, most, false}, Size{int8, 300, 300, true}, Size{bf16, 12672, 6000, false},
        Size{fp8, 12672, 12672, true}, Size{fp8, 200, 0, false}, Size{halves, 12672, 12672, false}, Size{int8, most, 9000, false},
        Size{bf16, 129, 129, false}, Size{fp8, most, most, true}})
    launches.push_back(prepare(size.operands, size.rows, size.live, size.quantizes));
  for (const Launch& launch : launches) start(launch);
  for (const Launch& launch : launches) check(launch);
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
        const Launch launch = prepare(operands, rows, live, false);
        start(launch);
        EXPECT_EQ(overflow(launch), bad < live ? kStep : kNoOverflow) << columns << " columns, row " << bad;
      }
}

TEST(LinearLayerNorm, TakesWidthsOfWholeTilesAndPaysWhereABlockTakesManyTiles) {
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

// Two for each row of a tile, writer and reader of a group, behind the first.
TEST(LinearLayerNorm, HasMailboxesForAllGroups) {
  for (const int multiprocessors : {16, 114, 132})
    for (const int64_t blocks : {3, 4}) {
      const int64_t groups = multiprocessors / blocks;
      EXPECT_GE(cuda::linear_layer_norm_mailbox_bytes(multiprocessors), (1 + groups * 2 * blocks * blocks * 128) * 16)
          << multiprocessors << ", groups of " << blocks;
    }
}

// At most three blocks of a launch wait for others that have no multiprocessor.
TEST(LinearLayerNorm, StreamsThatWaitLeaveMultiprocessors) {
  for (const int multiprocessors : {16, 114, 132}) {
    EXPECT_GE(cuda::most_linear_layer_norm_streams(multiprocessors), 1);
    EXPECT_LT(3 * cuda::most_linear_layer_norm_streams(multiprocessors), multiprocessors);
  }
}

}  // namespace
}  // namespace bertie::test
