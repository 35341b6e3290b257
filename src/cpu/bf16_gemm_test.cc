// Every instruction set of this machine that multiplies bfloat16, against double arithmetic on the rounded factors.
#include "cpu/bf16_gemm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "base/float16.h"
#include "base/panels.h"
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/random_floats_test.h"

namespace bertie::cpu {
namespace {

struct Case {
  int64_t rows, columns, k;
  FloatType a_type = FloatType::f32, w_type = FloatType::f32;
  Activation activation = Activation::none;
  bool bias = true;
  int threads = 1;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rows << "x" << c.columns << "x" << c.k << " types " << static_cast<int>(c.a_type) << " "
             << static_cast<int>(c.w_type) << " activation " << static_cast<int>(c.activation) << " bias " << c.bias
             << " threads " << c.threads;
}

// Floats as a tensor of a type.
Tensor tensor_of(const std::vector<float>& values, const Shape& shape, FloatType type) {
  if (type == FloatType::f32) return Tensor::from_floats(shape, values);
  auto halves = std::make_shared<std::vector<uint16_t>>();
  for (float value : values) halves->push_back(type == FloatType::f16 ? float_to_f16(value) : float_to_bf16(value));
  halves->push_back(0);  // no null pointer where empty
  return {type == FloatType::f16 ? DType::f16 : DType::bf16, shape, std::shared_ptr<const void>(halves, halves->data())};
}

float rounded(float value) { return bf16_to_float(float_to_bf16(value)); }

struct Data {
  Tensor a, w;
  std::vector<float> bias;      // padded to whole panels
  std::vector<float> a32, w32;  // the factors
};

Data make_data(const Case& c) {
  std::vector<float> a = random_floats(static_cast<size_t>(c.rows * c.k), 1),
                     w = random_floats(static_cast<size_t>(c.columns * c.k), 2);
  Data data{tensor_of(a, {c.rows, c.k}, c.a_type),
            tensor_of(w, {c.columns, c.k}, c.w_type),
            random_floats(static_cast<size_t>(panel_count(c.columns) * kPanelWidth), 3),
            {},
            {}};
  data.a32 = widened(data.a);
  data.w32 = widened(data.w);
  for (float& value : data.a32) value = rounded(value);
  for (float& value : data.w32) value = rounded(value);
  return data;
}

constexpr uint16_t kPoison = 0xfeff;  // of C, in halves

// Rows [row_begin, row_end) alone, C's bytes without their border, which must stay.
std::vector<uint16_t> compute(const IsaKernels& kernels, const Case& c, const Data& data, FloatType c_type, int64_t row_begin,
                              int64_t row_end) {
  ThreadPool pool(c.threads);
  const PackedBf16Weight weight(kernels, data.w, pool);
  const int64_t halves = c_type == FloatType::f32 ? 2 : 1, stride = c.columns + 3, rows = row_end - row_begin;
  std::vector<uint16_t> out(static_cast<size_t>((rows * stride + 16) * halves), kPoison);
  const size_t bytes = bf16_gemm_workspace(kernels, c.k, c.threads);
  std::vector<std::byte> workspace(bytes + 64, std::byte{0xff});  // NaN
  void* aligned = workspace.data();
  size_t space = workspace.size();
  std::align(64, bytes, aligned, space);
  const auto* a = static_cast<const std::byte*>(data.a.data.get());
  const Bf16GemmProblem problem = {a + static_cast<size_t>(row_begin * c.k) * dtype_size(data.a.dtype),
                                   c.a_type,
                                   c.k,
                                   weight.view(),
                                   c.bias ? data.bias.data() : nullptr,
                                   c.activation,
                                   out.data(),
                                   c_type,
                                   stride};
  run_bf16_gemm(kernels, problem, rows, pool, {static_cast<std::byte*>(aligned), bytes});
  std::vector<uint16_t> result;
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t column = static_cast<int64_t>(i) / halves % stride;
    if (static_cast<int64_t>(i) / halves < rows * stride && column < c.columns) {
      result.push_back(out[i]);
    } else {
      EXPECT_EQ(out[i], kPoison) << c << " wrote outside C, " << i;
    }
  }
  return result;
}
std::vector<float> compute(const IsaKernels& kernels, const Case& c, const Data& data) {
  const std::vector<uint16_t> halves = compute(kernels, c, data, FloatType::f32, 0, c.rows);
  std::vector<float> floats(halves.size() / 2);
  if (!floats.empty()) std::memcpy(floats.data(), halves.data(), halves.size() * 2);
  return floats;
}

double exact_activation(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::gelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::relu: return std::max(0.0, x);
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
  }
  return 0;
}

// As gemm_test.cc's: products are exact, every sum is in float32, in any order, and flushed where it is subnormal.
void check(const Isa& isa, const Case& c) {
  const Data data = make_data(c);
  const std::vector<float> result = compute(*isa.kernels, c, data);
  ASSERT_EQ(result.size(), static_cast<size_t>(c.rows * c.columns));
  const double eps = std::numeric_limits<float>::epsilon() / 2;
  for (int64_t r = 0; r < c.rows; ++r) {
    for (int64_t n = 0; n < c.columns; ++n) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < c.k; ++k) {
        const double product =
            static_cast<double>(data.a32[static_cast<size_t>(r * c.k + k)]) * data.w32[static_cast<size_t>(n * c.k + k)];
        sum += product;
        magnitude += std::abs(product);
      }
      if (c.bias) {
        sum += data.bias[static_cast<size_t>(n)];
        magnitude += std::abs(data.bias[static_cast<size_t>(n)]);
      }
      const double expected = exact_activation(c.activation, sum);
      double bound = 1.13 * static_cast<double>(c.k + 4) * eps * magnitude + 1e-30;
      if (c.activation != Activation::none) bound += 16 * eps * std::max(std::abs(expected), std::abs(sum) * 0.1);
      const float got = result[static_cast<size_t>(r * c.columns + n)];
      ASSERT_LE(std::abs(got - expected), bound)
          << isa.name << " " << c << " first bad element " << r << "," << n << ": " << got << " for " << expected;
    }
  }
}

std::vector<Isa> isas_with_bf16() {
  std::vector<Isa> isas;
  for (const Isa& isa : available_isas()) {
    if (has_bf16_gemm(*isa.kernels)) isas.push_back(isa);
  }
  return isas;
}

class Bf16Gemm : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(EachIsa, Bf16Gemm, testing::ValuesIn(isas_with_bf16()),
                         [](const auto& info) { return std::string(info.param.name); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Bf16Gemm);

TEST_P(Bf16Gemm, RowsOfEveryTail) {
  for (int64_t rows = 0; rows <= 34; ++rows) check(GetParam(), {rows, 49, 37});
  for (int64_t rows : {55, 63, 64, 65, 107, 108, 109, 127, 128, 129}) check(GetParam(), {rows, 33, 21});
}

TEST_P(Bf16Gemm, ColumnsOfEveryTail) {
  for (int64_t columns = 1; columns <= 50; ++columns) check(GetParam(), {5, columns, 24});
  for (int64_t columns : {0, 63, 64, 65, 127, 128, 129, 143, 144, 145, 1023, 1040}) {
    check(GetParam(), {1, columns, 17});
    check(GetParam(), {14, columns, 17});
  }
}

TEST_P(Bf16Gemm, DepthOfEveryTail) {
  for (int64_t k : {0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 383, 384, 385, 767, 768, 769, 1600, 2305})
    for (FloatType a_type : {FloatType::f32, FloatType::bf16}) {
      check(GetParam(), {.rows = 3, .columns = 33, .k = k, .a_type = a_type});
      check(GetParam(), {.rows = 35, .columns = 20, .k = k, .a_type = a_type});
    }
}

TEST_P(Bf16Gemm, Epilogues) {
  for (Activation activation :
       {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::relu, Activation::silu, Activation::tanh})
    for (bool bias : {false, true})
      check(GetParam(), {.rows = 17, .columns = 37, .k = 100, .activation = activation, .bias = bias});
}

TEST_P(Bf16Gemm, WeightTypes) {
  for (FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16})
    for (int64_t columns : {1, 16, 35}) check(GetParam(), {.rows = 7, .columns = columns, .k = 101, .w_type = type});
}

TEST_P(Bf16Gemm, PanelsOfAnEngineFileGiveTheSameBits) {
  const Case c = {.rows = 5, .columns = 101, .k = 70};  // several tasks of panels
  Data data = make_data(c);
  const std::vector<float> expected = compute(*GetParam().kernels, c, data);
  auto panels = std::make_shared<std::vector<std::byte>>(panel_bytes(data.w.dtype, data.w.shape));
  pack_panel_lines(data.w.view(), 0, panel_count(c.columns) * c.k, panels->data());
  data.w = {data.w.dtype, data.w.shape, std::shared_ptr<const void>(panels, panels->data()), TensorLayout::panels_16};
  EXPECT_EQ(compute(*GetParam().kernels, c, data), expected);
}

// Rows of bfloat16, given and made: the same bits as from floats that are rounded, and as floats rounded afterwards.
TEST_P(Bf16Gemm, HalfRowsAreRoundedFloats) {
  for (const int64_t columns : {1, 15, 16, 17, 83}) {
    Case c = {.rows = 23, .columns = columns, .k = 77, .activation = Activation::gelu};
    const Data data = make_data(c);
    const std::vector<float> floats = compute(*GetParam().kernels, c, data);
    c.a_type = FloatType::bf16;
    const Data given = make_data(c);
    EXPECT_EQ(compute(*GetParam().kernels, c, given), floats);
    std::vector<uint16_t> expected;
    for (float value : floats) expected.push_back(float_to_bf16(value));
    EXPECT_EQ(compute(*GetParam().kernels, c, given, FloatType::bf16, 0, c.rows), expected) << c;
  }
}

// The contract of design.md: a row's bits do not depend on the rows beside it, on its place, or on the threads.
TEST_P(Bf16Gemm, RowsAreTheSameBitsAloneAndTogether) {
  for (const int64_t k : {64, 385, 1700}) {
    const Case c = {.rows = 131, .columns = 83, .k = k, .activation = Activation::gelu};
    const Data data = make_data(c);
    const std::vector<uint16_t> all = compute(*GetParam().kernels, c, data, FloatType::f32, 0, c.rows);
    for (int64_t count : {1, 2, 3, 5, 8, 13, 14, 15, 16, 17, 29, 57}) {
      for (int64_t begin = 0; begin + count <= c.rows; begin += count + 7) {
        const std::vector<uint16_t> some = compute(*GetParam().kernels, c, data, FloatType::f32, begin, begin + count);
        ASSERT_TRUE(std::equal(some.begin(), some.end(), all.begin() + begin * c.columns * 2))
            << GetParam().name << " k " << k << " rows " << begin << " + " << count;
      }
    }
    for (int threads : {2, 3}) {
      Case threaded = c;
      threaded.threads = threads;
      EXPECT_EQ(compute(*GetParam().kernels, threaded, data, FloatType::f32, 0, c.rows), all) << threads << " threads";
    }
  }
}

TEST_P(Bf16Gemm, ThreadsShareLargeWork) {
  for (int threads : {1, 2, 3}) check(GetParam(), {.rows = 150, .columns = 1100, .k = 48, .threads = threads});
  for (int threads : {2, 3}) check(GetParam(), {.rows = 1, .columns = 3000, .k = 96, .threads = threads});
}

// Also what overflows where it is rounded: the largest float becomes infinity, and K's padding takes no part.
TEST_P(Bf16Gemm, NotANumberAndInfinityPassThrough) {
  const Case c = {.rows = 4, .columns = 17, .k = 21};
  Data data = make_data(c);
  std::vector<float> a = widened(data.a);
  a[0] = std::bit_cast<float>(0x7f800001u);  // NaN only in bits that rounding drops
  a[21] = std::numeric_limits<float>::infinity();
  a[42] = std::numeric_limits<float>::max();
  data.a = tensor_of(a, data.a.shape, FloatType::f32);
  for (const FloatType type : {FloatType::f32, FloatType::bf16}) {
    const std::vector<uint16_t> halves = compute(*GetParam().kernels, c, data, type, 0, c.rows);
    const size_t width = type == FloatType::f32 ? 2 : 1;
    for (size_t n = 0; n < 17; ++n) {
      const auto value = [&](size_t row) { return bf16_to_float(halves[(row * 17 + n + 1) * width - 1]); };  // its upper half
      EXPECT_TRUE(std::isnan(value(0)));
      EXPECT_TRUE(std::isinf(value(1)));
      EXPECT_TRUE(std::isinf(value(2)));
      EXPECT_TRUE(std::isfinite(value(3)));
    }
  }
}

// Every float that is no subnormal is rounded as base/float16.h does; the weights' and the rows' way.
TEST_P(Bf16Gemm, FactorsAreRoundedToNearestEven) {
  ThreadPool pool(1);
  std::vector<float> values;
  for (uint32_t high = 0x0080; high < 0x7f80; high += 17)
    for (uint32_t low : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
      values.push_back(std::bit_cast<float>(high << 16 | low));
  const int64_t k = 16, n = static_cast<int64_t>(values.size()) / k;
  values.resize(static_cast<size_t>(n * k));
  const PackedBf16Weight packed(*GetParam().kernels, Tensor::from_floats({n, k}, values), pool);
  for (int64_t i = 0; i < n * k; ++i) {
    const int64_t column = i / k, depth = i % k;
    const uint16_t* panel = packed.view().panels + column / 16 * 16 * bf16_depth(k);
    ASSERT_EQ(panel[depth / 2 * 32 + column % 16 * 2 + depth % 2], float_to_bf16(values[static_cast<size_t>(i)]))
        << values[static_cast<size_t>(i)];
  }
  // Rows times the unit matrix.
  std::vector<float> unit(static_cast<size_t>(k * k));
  for (int64_t i = 0; i < k; ++i) unit[static_cast<size_t>(i * k + i)] = 1;
  const Case c = {.rows = n, .columns = k, .k = k, .bias = false};
  const Data data{Tensor::from_floats({n, k}, values), Tensor::from_floats({k, k}, unit), {}, {}, {}};
  const std::vector<float> result = compute(*GetParam().kernels, c, data);
  for (size_t i = 0; i < values.size(); ++i) {
    const float expected = rounded(values[i]);
    if (std::isfinite(expected)) {
      ASSERT_EQ(result[i], expected) << values[i];
    }
  }
}

}  // namespace
}  // namespace bertie::cpu
