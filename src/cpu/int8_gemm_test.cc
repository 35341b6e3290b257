// Every instruction set of this machine against integer arithmetic written out, bit for bit.
#include "cpu/int8_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "base/panels.h"
#include "cpu/isa.h"
#include "cpu/random_floats_test.h"

namespace bertie::cpu {
namespace {

enum class Values { random, opposite_extremes, equal_extremes, brink, brink_of_couples };

struct Case {
  int64_t rows, columns, k;
  Values values = Values::random;
  Activation activation = Activation::none;
  bool bias = true, residual = false, one_scale = false;
  int threads = 1;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rows << "x" << c.columns << "x" << c.k << " values " << static_cast<int>(c.values) << " activation "
             << static_cast<int>(c.activation) << " bias " << c.bias << " residual " << c.residual << " one scale " << c.one_scale
             << " threads " << c.threads;
}

struct Data {
  std::vector<int8_t> a, w;
  std::vector<float> a_scales, w_scales, bias, residual;  // of columns: padded to whole panels
};

std::vector<int8_t> random_bytes(int64_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<int8_t> bytes(static_cast<size_t>(count));
  for (int8_t& byte : bytes) byte = static_cast<int8_t>(static_cast<int>(generator() % 255) - 127);
  return bytes;
}

Data make_data(const Case& c) {
  const size_t padded = static_cast<size_t>(panel_count(c.columns) * kPanelWidth);
  Data data{
      random_bytes(c.rows * c.k, 1), random_bytes(c.columns * c.k, 2), random_floats(static_cast<size_t>(c.rows), 3),
      random_floats(padded, 4),      random_floats(padded, 5),         random_floats(static_cast<size_t>(c.rows * c.columns), 6)};
  if (c.values == Values::brink) {
    // a + 128 is 1 or 255; two weights come to 128 in some lines of four k, to 129 and 130 in others.
    for (int8_t& value : data.a) value = value < 0 ? -127 : 127;
    for (int64_t n = 0; n < c.columns; ++n) {
      for (int64_t i = 0; i < c.k; ++i) {
        int8_t& weight = data.w[static_cast<size_t>(n * c.k + i)];
        const int magnitude = i / 4 % 3 == 0 && weight % 2 == 0 ? 65 : 64;
        weight = static_cast<int8_t>(weight < 0 ? -magnitude : magnitude);
      }
    }
  } else if (c.values == Values::brink_of_couples) {
    // Two weights of a column come to 64, in every third line to 65: of two lines to 128, or beyond.
    for (int8_t& value : data.a) value = value < 0 ? -127 : 127;
    for (int64_t n = 0; n < c.columns; ++n) {
      for (int64_t i = 0; i < c.k; ++i) {
        const int magnitude = i % 12 == 0 ? 33 : 32;
        data.w[static_cast<size_t>(n * c.k + i)] = static_cast<int8_t>(n % 2 == 0 ? magnitude : -magnitude);
      }
    }
  } else if (c.values != Values::random) {
    std::fill(data.a.begin(), data.a.end(), int8_t{127});
    std::fill(data.w.begin(), data.w.end(), int8_t{c.values == Values::equal_extremes ? int8_t{127} : int8_t{-127}});
    // Whole rows of the other sign too.
    for (int64_t i = 0; i < c.k && c.rows > 1; ++i) data.a[static_cast<size_t>(c.k + i)] = -127;
  }
  for (float& scale : data.a_scales) scale = std::abs(scale) * 0.01f;
  for (float& scale : data.w_scales) scale = std::abs(scale) * 0.01f;
  return data;
}

Tensor weight_tensor(const Case& c, const Data& data) {
  return {DType::i8, Shape{c.columns, c.k}, std::shared_ptr<const void>(std::shared_ptr<void>(), data.w.data())};
}

// Memory that a kernel must stay within, at an alignment of 64 and of no more, and whose end the sanitizer watches.
struct Workspace {
  explicit Workspace(size_t bytes) : size(bytes), memory(bytes + 64, std::byte{0xff}) {
    void* p = memory.data();
    size_t space = memory.size();
    begin = static_cast<std::byte*>(std::align(64, bytes, p, space));
  }
  std::span<std::byte> span() { return {begin, size}; }
  size_t size;
  std::vector<std::byte> memory;
  std::byte* begin;
};

constexpr float kPoison = -1.7e38f;

struct Result {
  std::vector<float> c;
  std::vector<int8_t> values;
  std::vector<float> scales;
};

// Rows [row_begin, row_end) alone; C has a border of poison that must stay.
Result compute(const IsaKernels& kernels, const Case& c, const Data& data, int64_t row_begin, int64_t row_end, bool quantized) {
  ThreadPool pool(c.threads);
  const PackedInt8Weight weight(kernels, weight_tensor(c, data), pool);
  const int64_t rows = row_end - row_begin, stride = quantized ? 0 : c.columns + 3;
  std::vector<float> out(static_cast<size_t>(rows * stride + 16), kPoison);
  Int8GemmProblem problem = {};
  problem.a = data.a.data() + row_begin * c.k;
  problem.a_stride = c.k;
  problem.a_scales = data.a_scales.data() + (c.one_scale ? 0 : row_begin);
  problem.a_scale_stride = c.one_scale ? 0 : 1;
  problem.weight = weight.view();
  problem.w_scales = data.w_scales.data();
  problem.bias = c.bias ? data.bias.data() : nullptr;
  problem.activation = c.activation;
  if (c.residual) problem.residual = data.residual.data() + row_begin * c.columns;
  problem.residual_stride = c.columns;
  problem.c = out.data();
  problem.c_stride = stride;
  Result result;
  result.values.assign(static_cast<size_t>(rows * c.columns + 1), 99);
  result.scales.assign(static_cast<size_t>(rows + 1), kPoison);
  const QuantizeRows quantized_rows = {nullptr, 0, 0, result.values.data(), result.scales.data(), nullptr, nullptr};
  Workspace workspace(int8_gemm_workspace(kernels, rows, c.columns, c.k, quantized, c.threads));
  run_int8_gemm(kernels, problem, rows, quantized ? &quantized_rows : nullptr, pool, workspace.span());
  EXPECT_EQ(result.values.back(), 99) << c;
  EXPECT_EQ(result.scales.back(), kPoison) << c;
  result.values.pop_back();
  result.scales.pop_back();
  for (int64_t r = 0; r < (quantized ? 0 : rows); ++r) {
    for (int64_t n = 0; n < stride; ++n) {
      const float value = out[static_cast<size_t>(r * stride + n)];
      if (n < c.columns) {
        result.c.push_back(value);
      } else {
        EXPECT_EQ(value, kPoison) << c << " beside row " << r;
      }
    }
  }
  for (size_t i = static_cast<size_t>(rows * stride); i < out.size(); ++i) EXPECT_EQ(out[i], kPoison) << c;
  return result;
}

Result compute(const Isa& isa, const Case& c, const Data& data, bool quantized = false) {
  return compute(*isa.kernels, c, data, 0, c.rows, quantized);
}

// Without activation.
std::vector<float> expected(const Case& c, const Data& data) {
  std::vector<float> result;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t n = 0; n < c.columns; ++n) {
      int32_t sum = 0;
      for (int64_t i = 0; i < c.k; ++i)
        sum += data.a[static_cast<size_t>(r * c.k + i)] * data.w[static_cast<size_t>(n * c.k + i)];
      const size_t column = static_cast<size_t>(n);
      const float scale = data.a_scales[c.one_scale ? 0 : static_cast<size_t>(r)] * data.w_scales[column];
      float value = static_cast<float>(sum) * scale;
      if (c.bias) value = std::fma(static_cast<float>(sum), scale, data.bias[column]);
      if (c.residual) value += data.residual[static_cast<size_t>(r * c.columns + n)];
      result.push_back(value);
    }
  }
  return result;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

void check(const Isa& isa, const Case& c) {
  const Data data = make_data(c);
  const std::vector<float> got = compute(isa, c, data).c, want = expected(c, data);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(std::memcmp(&got[i], &want[i], sizeof(float)), 0)
        << isa.name << " " << c << " first bad element " << i << ": " << got[i] << " for " << want[i];
  }
}

class Int8Gemm : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(EachIsa, Int8Gemm, testing::ValuesIn(available_isas().begin(), available_isas().end()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Int8Gemm, RowsOfEveryTail) {
  for (int64_t rows = 0; rows <= 36; ++rows) check(GetParam(), {rows, 49, 68});
  for (int64_t rows : {63, 64, 65, 107, 108, 109, 255, 256, 257}) check(GetParam(), {rows, 17, 20});
}

TEST_P(Int8Gemm, ColumnsOfEveryTail) {
  for (int64_t columns = 1; columns <= 50; ++columns) check(GetParam(), {5, columns, 64});
  for (int64_t columns : {0, 63, 64, 65, 127, 128, 129, 143, 144, 145, 1023, 1040}) {
    check(GetParam(), {1, columns, 65});
    check(GetParam(), {18, columns, 63});
  }
}

TEST_P(Int8Gemm, DepthOfEveryTail) {
  for (int64_t k : {0, 1, 2, 3, 4, 5, 31, 63, 64, 65, 127, 128, 129, 191, 192, 193, 768, 1000, 1023, 1024, 1025, 2049}) {
    check(GetParam(), {3, 33, k});
    check(GetParam(), {19, 20, k});
  }
}

// No sum of two, four or all products saturates.
TEST_P(Int8Gemm, ExtremesAreExact) {
  for (const Values values : {Values::equal_extremes, Values::opposite_extremes}) {
    check(GetParam(), {.rows = 5, .columns = 33, .k = 4096, .values = values, .bias = false});
    check(GetParam(), {.rows = 2, .columns = 1, .k = kInt8MaxDepth, .values = values, .bias = false});
  }
}

// Where 16 bits just hold the sum of two products, or of four, with 128 added to one factor, and where they do not.
TEST_P(Int8Gemm, PairsAtTheBrinkOfSixteenBitsAreExact) {
  for (const int64_t k : {4, 63, 64, 65, 768, 3000})
    for (const int64_t rows : {1, 11, 12, 13, 25})
      for (const Values values : {Values::brink, Values::brink_of_couples})
        check(GetParam(), {.rows = rows, .columns = 41, .k = k, .values = values});
}

TEST_P(Int8Gemm, EpiloguesWithoutActivation) {
  for (bool bias : {false, true})
    for (bool residual : {false, true})
      for (bool one_scale : {false, true})
        for (int64_t columns : {37, 64})
          check(GetParam(),
                {.rows = 35, .columns = columns, .k = 192, .bias = bias, .residual = residual, .one_scale = one_scale});
}

// The functions themselves are held by math_test.
TEST_P(Int8Gemm, ActivationsFollowTheBiasAndPrecedeTheResidual) {
  const auto exact = [](Activation activation, double x) {
    switch (activation) {
      case Activation::gelu: return x * 0.5 * std::erfc(-x * M_SQRT1_2);
      case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      case Activation::relu: return std::max(x, 0.0);
      case Activation::silu: return x / (1 + std::exp(-x));
      case Activation::tanh: return std::tanh(x);
      default: return x;
    }
  };
  for (Activation activation : {Activation::gelu, Activation::gelu_tanh, Activation::relu, Activation::silu, Activation::tanh}) {
    Case c = {.rows = 35, .columns = 37, .k = 192, .activation = activation, .residual = true};
    const Data data = make_data(c);
    const std::vector<float> got = compute(GetParam(), c, data).c;
    c.residual = false;
    const std::vector<float> before = expected(c, data);
    for (size_t i = 0; i < got.size(); ++i) {
      const double want = exact(activation, before[i]) + static_cast<double>(data.residual[i]);
      ASSERT_NEAR(got[i], want, 1e-6 * (1 + std::abs(want))) << GetParam().name << " " << c << " element " << i;
    }
  }
}

// What int8.h says, of the very floats that are given where they are not quantised.
TEST_P(Int8Gemm, QuantisedRowsAreTheFloatsQuantised) {
  for (const int threads : {1, 2, 3}) {
    for (const int64_t rows : {0, 1, 2, 5, 31, 64, 97, 130}) {
      for (const int64_t columns : {1, 15, 49, 256}) {
        const Case c = {.rows = rows, .columns = columns, .k = 100, .activation = Activation::gelu, .threads = threads};
        const Data data = make_data(c);
        const Result quantized = compute(GetParam(), c, data, true);
        const std::vector<float> floats = compute(GetParam(), c, data).c;
        for (int64_t r = 0; r < rows; ++r) {
          float largest = 0;
          for (int64_t n = 0; n < columns; ++n)
            largest = std::max(largest, std::abs(floats[static_cast<size_t>(r * columns + n)]));
          ASSERT_EQ(quantized.scales[static_cast<size_t>(r)], largest / 127.0f) << GetParam().name << " " << c;
          for (int64_t n = 0; n < columns; ++n) {
            const size_t i = static_cast<size_t>(r * columns + n);
            const float value = largest == 0 ? 0 : floats[i] * (127.0f / largest);
            ASSERT_EQ(quantized.values[i], std::nearbyint(value)) << GetParam().name << " " << c << " " << i;
          }
        }
      }
    }
  }
}

// The contract of design.md: a row's bits do not depend on the rows beside it, on its place, or on the threads.
TEST_P(Int8Gemm, RowsAreTheSameBitsAloneAndTogether) {
  const Case c = {.rows = 131, .columns = 83, .k = 385, .activation = Activation::gelu, .residual = true};
  const Data data = make_data(c);
  const Result all = compute(GetParam(), c, data), all_quantized = compute(GetParam(), c, data, true);
  for (int64_t count : {1, 2, 3, 5, 8, 13, 16, 17, 29, 57}) {
    for (int64_t begin = 0; begin + count <= c.rows; begin += count + 7) {
      const Result some = compute(*GetParam().kernels, c, data, begin, begin + count, false);
      const auto first = all.c.begin() + begin * c.columns;
      ASSERT_TRUE(same_bits(some.c, std::vector<float>(first, first + count * c.columns)))
          << GetParam().name << " rows " << begin << " + " << count;
    }
  }
  for (int threads : {2, 3, 5}) {
    Case threaded = c;
    threaded.threads = threads;
    EXPECT_TRUE(same_bits(all.c, compute(GetParam(), threaded, data).c)) << threads << " threads";
    const Result quantized = compute(GetParam(), threaded, data, true);
    EXPECT_TRUE(same_bits(all_quantized.values, quantized.values)) << threads << " threads";
    EXPECT_TRUE(same_bits(all_quantized.scales, quantized.scales)) << threads << " threads";
  }
}

// Large enough for several chunks each way.
TEST_P(Int8Gemm, ThreadsShareLargeWork) {
  for (int threads : {1, 2, 3}) check(GetParam(), {.rows = 300, .columns = 1100, .k = 48, .threads = threads});
  for (int threads : {2, 3}) check(GetParam(), {.rows = 1, .columns = 3000, .k = 96, .threads = threads});
}

// What an engine file holds is what every instruction set packs.
TEST_P(Int8Gemm, PanelsOfAFileAreReadInPlace) {
  for (const auto& [columns, k] : {std::pair<int64_t, int64_t>{1, 1}, {15, 64}, {17, 65}, {48, 192}}) {
    const Case c{.rows = 1, .columns = columns, .k = k};
    const Data data = make_data(c);
    ThreadPool pool(2);
    const Tensor rows = weight_tensor(c, data);
    const PackedInt8Weight packed(*GetParam().kernels, rows, pool);
    std::vector<int8_t> panels(int8_panel_bytes(rows.shape) + 64);
    void* start = panels.data();
    size_t space = panels.size();
    std::align(64, int8_panel_bytes(rows.shape), start, space);
    pack_int8_panel_lines(rows.view(), 0, static_cast<int64_t>(int8_panel_bytes(rows.shape) / 64), static_cast<int8_t*>(start));
    const Tensor file{DType::i8, rows.shape, std::shared_ptr<const void>(std::shared_ptr<void>(), start),
                      TensorLayout::panels_16x4};
    const PackedInt8Weight in_place(*GetParam().kernels, file, pool);
    EXPECT_EQ(in_place.view().panels, start);
    EXPECT_EQ(std::memcmp(packed.view().panels, start, int8_panel_bytes(rows.shape)), 0) << c;
    EXPECT_EQ(std::memcmp(packed.view().starts, in_place.view().starts,
                          static_cast<size_t>(panel_count(columns) * 16) * sizeof(int32_t)),
              0);
    if (const int64_t length = GetParam().kernels->int8_order_length(k); length > 0) {
      EXPECT_EQ(std::memcmp(packed.view().order, in_place.view().order,
                            static_cast<size_t>(panel_count(columns) * length) * sizeof(uint16_t)),
                0);
    }
    EXPECT_LT(in_place.bytes(), packed.bytes());
  }
}

TEST_P(Int8Gemm, ScalesThatAreNotFiniteShowInTheirRowAlone) {
  const Case c = {.rows = 3, .columns = 17, .k = 20};
  Data data = make_data(c);
  data.a_scales[0] = std::numeric_limits<float>::quiet_NaN();
  data.a_scales[1] = std::numeric_limits<float>::infinity();
  const std::vector<float> result = compute(GetParam(), c, data).c;
  for (size_t n = 0; n < 17; ++n) {
    EXPECT_TRUE(std::isnan(result[n]));
    EXPECT_FALSE(std::isfinite(result[17 + n]));
    EXPECT_TRUE(std::isfinite(result[34 + n]));
  }
}

TEST(Int8GemmAcrossIsas, VectorSetsAgreeInEveryBitWithActivationsToo) {
  for (Activation activation : {Activation::gelu, Activation::gelu_tanh, Activation::silu, Activation::tanh}) {
    const Case c = {.rows = 29, .columns = 71, .k = 801, .activation = activation, .residual = true};
    const Data data = make_data(c);
    const std::vector<float> widest = compute(available_isas().back(), c, data).c;
    for (const Isa& isa : available_isas()) {
      if (isa.vectors != "generic") {
        EXPECT_TRUE(same_bits(widest, compute(isa, c, data).c)) << isa.name << " " << c;
      }
    }
  }
}

class QuantizeRowsKernel : public Int8Gemm {};
INSTANTIATE_TEST_SUITE_P(EachIsa, QuantizeRowsKernel, testing::ValuesIn(available_isas().begin(), available_isas().end()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(QuantizeRowsKernel, EveryExtent) {
  for (int64_t extent = 0; extent <= 70; ++extent) {
    const std::vector<float> x = random_floats(static_cast<size_t>(3 * (extent + 2)), 7);
    std::vector<int8_t> values(static_cast<size_t>(3 * extent + 1), 99);
    std::vector<float> scales(3);
    GetParam().kernels->quantize_rows({x.data(), extent + 2, extent, values.data(), scales.data(), nullptr, nullptr}, 0, 3);
    EXPECT_EQ(values.back(), 99);
    for (int64_t r = 0; r < 3; ++r) {
      const float* row = x.data() + r * (extent + 2);
      float largest = 0;
      for (int64_t i = 0; i < extent; ++i) largest = std::max(largest, std::abs(row[i]));
      ASSERT_EQ(scales[static_cast<size_t>(r)], largest / 127.0f) << GetParam().name << " " << extent;
      for (int64_t i = 0; i < extent; ++i) {
        ASSERT_EQ(values[static_cast<size_t>(r * extent + i)], std::nearbyint(row[i] * (127.0f / largest))) << extent << " " << i;
      }
    }
  }
}

TEST_P(QuantizeRowsKernel, ZerosTinyValuesAndThoseThatAreNotFinite) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
  const auto quantized = [&](std::vector<float> x) {
    x.resize(37, 0.0f);
    std::vector<int8_t> values(37, 99);
    float scale = kPoison;
    GetParam().kernels->quantize_rows({x.data(), 37, 37, values.data(), &scale, nullptr, nullptr}, 0, 1);
    return std::pair(scale, values);
  };
  EXPECT_EQ(quantized({}), std::pair(0.0f, std::vector<int8_t>(37, 0)));
  EXPECT_EQ(quantized({-0.0f}), std::pair(0.0f, std::vector<int8_t>(37, 0)));
  const auto [scale, values] = quantized({1e-44f, -1e-44f});  // 127 / it overflows
  EXPECT_EQ(scale, 1e-44f / 127.0f);
  EXPECT_EQ(values[0], 127);
  EXPECT_EQ(values[1], -127);
  EXPECT_EQ(quantized({1.0f, kInfinity}).first, kInfinity);
  EXPECT_EQ(quantized({1.0f, -kInfinity}).first, kInfinity);
  EXPECT_TRUE(std::isnan(quantized({1.0f, kNan, 2.0f}).first));
  std::vector<float> late(36, 3.0f);
  late.push_back(-kNan);
  EXPECT_TRUE(std::isnan(quantized(late).first));
  EXPECT_TRUE(std::isnan(quantized({kInfinity, kNan}).first));
}

}  // namespace
}  // namespace bertie::cpu
