// Every instruction set of this machine against float64, with a bound for each element, and bit for bit against itself.
#include "cpu/gemm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "base/float16.h"
#include "cpu/isa.h"
#include "cpu/random_floats_test.h"

namespace bertie::cpu {
namespace {

struct Case {
  int64_t rows, columns, k;
  Activation activation = Activation::none;
  bool bias = true, residual = false, packed = true;
  FloatType type = FloatType::f32;
  int threads = 1;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.rows << "x" << c.columns << "x" << c.k << " activation " << static_cast<int>(c.activation) << " bias " << c.bias
             << " residual " << c.residual << " packed " << c.packed << " type " << static_cast<int>(c.type) << " threads "
             << c.threads;
}

struct Data {
  std::vector<float> a, bias, residual, w;  // w: as the kernel sees it, after rounding to its type
  std::vector<uint16_t> w16;
  Tensor tensor;
};

Data make_data(const Case& c) {
  Data data{random_floats(static_cast<size_t>(c.rows * c.k), 1),
            random_floats(static_cast<size_t>(c.columns), 2),
            random_floats(static_cast<size_t>(c.rows * c.columns), 3),
            random_floats(static_cast<size_t>(c.columns * c.k), 4),
            {},
            {}};
  for (float& value : data.w) {
    if (c.type == FloatType::f16) value = f16_to_float(data.w16.emplace_back(float_to_f16(value)));
    if (c.type == FloatType::bf16) value = bf16_to_float(data.w16.emplace_back(float_to_bf16(value)));
  }
  const size_t bytes = data.w.size() * (c.type == FloatType::f32 ? 4 : 2);
  auto owned = std::make_shared<std::vector<std::byte>>(bytes + 1);  // + 1: no null pointer where empty
  if (bytes > 0)
    std::memcpy(owned->data(), c.type == FloatType::f32 ? static_cast<void*>(data.w.data()) : data.w16.data(), bytes);
  const DType dtype = c.type == FloatType::f32 ? DType::f32 : c.type == FloatType::f16 ? DType::f16 : DType::bf16;
  data.tensor = {dtype, Shape{c.columns, c.k}, std::shared_ptr<const void>(owned, owned->data())};
  return data;
}

constexpr float kPoison = -1.7e38f;

// Rows [row_begin, row_end) alone; C has a border of poison that must stay.
std::vector<float> compute(const IsaKernels& kernels, const Case& c, const Data& data, int64_t row_begin, int64_t row_end) {
  ThreadPool pool(c.threads);
  const int64_t stride = c.columns + 3, rows = row_end - row_begin;
  std::vector<float> out(static_cast<size_t>(rows * stride + 16), kPoison);
  std::unique_ptr<PackedWeight> packed;
  if (c.packed) packed = std::make_unique<PackedWeight>(kernels, data.tensor, pool);
  GemmProblem problem = {};
  problem.a = data.a.data() + row_begin * c.k;
  problem.a_stride = c.k;
  problem.weight = gemm_weight(data.tensor);
  problem.panels = packed ? packed->panels() : nullptr;
  problem.c = out.data();
  problem.c_stride = stride;
  problem.bias = c.bias ? data.bias.data() : nullptr;
  problem.activation = c.activation;
  problem.residual = c.residual ? data.residual.data() + row_begin * c.columns : nullptr;
  problem.residual_stride = c.columns;
  const size_t bytes = gemm_scratch_bytes(kernels, problem, c.threads);
  std::vector<std::byte> scratch(bytes + 64, std::byte{0xff});  // NaN
  void* aligned = scratch.data();
  size_t space = scratch.size();
  std::align(64, bytes, aligned, space);
  run_gemm(kernels, problem, rows, pool, {static_cast<std::byte*>(aligned), bytes});

  std::vector<float> result;
  for (int64_t r = 0; r < rows; ++r) {
    result.insert(result.end(), out.begin() + r * stride, out.begin() + r * stride + c.columns);
    for (int64_t i = c.columns; i < stride; ++i)
      EXPECT_EQ(out[static_cast<size_t>(r * stride + i)], kPoison) << c << " wrote past row " << r;
  }
  for (size_t i = static_cast<size_t>(rows * stride); i < out.size(); ++i)
    EXPECT_EQ(out[i], kPoison) << c << " wrote past the end";
  return result;
}

std::vector<float> compute(const IsaKernels& kernels, const Case& c, const Data& data) {
  return compute(kernels, c, data, 0, c.rows);
}

double exact_activation(Activation activation, double x) {
  switch (activation) {
    case Activation::none: return x;
    case Activation::gelu: return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::relu: return x > 0 ? x : 0;
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::tanh: return std::tanh(x);
  }
  return 0;
}

// |error| <= (K + 4) eps sum|a w| for the sum in any order (Higham, Accuracy and Stability, 3.1), carried through the activation
// (whose slope is at most 1.13) plus a few units in its own last place.
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
            static_cast<double>(data.a[static_cast<size_t>(r * c.k + k)]) * data.w[static_cast<size_t>(n * c.k + k)];
        sum += product;
        magnitude += std::abs(product);
      }
      if (c.bias) {
        sum += data.bias[static_cast<size_t>(n)];
        magnitude += std::abs(data.bias[static_cast<size_t>(n)]);
      }
      double expected = exact_activation(c.activation, sum);
      double bound = 1.13 * static_cast<double>(c.k + 4) * eps * magnitude + 1e-30;
      if (c.activation != Activation::none) bound += 16 * eps * std::max(std::abs(expected), std::abs(sum) * 0.1);
      if (c.residual) {
        expected += data.residual[static_cast<size_t>(r * c.columns + n)];
        bound += 2 * eps * std::abs(expected);
      }
      const float got = result[static_cast<size_t>(r * c.columns + n)];
      ASSERT_LE(std::abs(got - expected), bound)
          << isa.name << " " << c << " first bad element " << r << "," << n << ": " << got << " for " << expected;
    }
  }
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

class Gemm : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(EachIsa, Gemm, testing::ValuesIn(available_isas().begin(), available_isas().end()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(Gemm, RowsOfEveryTail) {
  for (int64_t rows = 0; rows <= 33; ++rows) check(GetParam(), {rows, 49, 37});
  for (int64_t rows : {55, 56, 57, 64, 111, 112, 113, 129}) check(GetParam(), {rows, 33, 21});
}

TEST_P(Gemm, ColumnsOfEveryTail) {
  for (int64_t columns = 1; columns <= 50; ++columns) check(GetParam(), {5, columns, 24});
  for (int64_t columns : {0, 63, 64, 65, 127, 128, 129, 143, 144, 145, 1023, 1040}) {
    check(GetParam(), {1, columns, 17});
    check(GetParam(), {14, columns, 17});
  }
}

TEST_P(Gemm, DepthOfEveryTail) {
  for (int64_t k : {0, 1, 2, 3, 15, 16, 17, 31, 383, 384, 385, 399, 400, 401, 767, 768, 769, 1000}) {
    for (bool packed : {true, false}) {
      check(GetParam(), {.rows = 3, .columns = 33, .k = k, .packed = packed});
      check(GetParam(), {.rows = 15, .columns = 20, .k = k, .packed = packed});
    }
  }
}

TEST_P(Gemm, Epilogues) {
  for (Activation activation :
       {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::relu, Activation::silu, Activation::tanh})
    for (bool bias : {false, true})
      for (bool residual : {false, true})
        check(GetParam(), {.rows = 17, .columns = 37, .k = 400, .activation = activation, .bias = bias, .residual = residual});
}

TEST_P(Gemm, WeightTypesPackedAndOnTheFly) {
  for (FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16}) {
    for (int64_t columns : {1, 16, 35, 160}) {
      Case c = {.rows = 7, .columns = columns, .k = 401, .type = type};
      check(GetParam(), c);
      const Data data = make_data(c);
      const std::vector<float> packed = compute(*GetParam().kernels, c, data);
      c.packed = false;
      EXPECT_TRUE(same_bits(packed, compute(*GetParam().kernels, c, data))) << c;
    }
  }
}

// A half is widened exactly, subnormals, infinities and NaN included.
TEST_P(Gemm, EveryHalfIsWidenedExactly) {
  for (const FloatType type : {FloatType::f16, FloatType::bf16}) {
    std::vector<uint16_t> halves(65536);
    std::iota(halves.begin(), halves.end(), 0);
    const GemmWeight weight = {halves.data(), type, 16, 4096};
    std::vector<float> panels(65536 + 16);
    GetParam().kernels->pack_panels(weight, 0, 1, 0, 4096, panels.data(), 65536);
    for (int64_t n = 0; n < 16; ++n) {
      for (int64_t k = 0; k < 4096; ++k) {
        const uint16_t half = halves[static_cast<size_t>(n * 4096 + k)];
        const float expected = type == FloatType::f16 ? f16_to_float(half) : bf16_to_float(half);
        const float got = panels[static_cast<size_t>(k * 16 + n)];
        if (std::isnan(expected)) {
          ASSERT_TRUE(std::isnan(got)) << half;
        } else {
          ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected)) << half;
        }
      }
    }
  }
}

// Panels of 16 bits give the bits that the same values in float32 give: a tile alone, the first of several and those after it, blocks of
// K and odd ends of both.
TEST_P(Gemm, WeightsOf16BitsGiveTheBitsOfFloats) {
  for (const FloatType type : {FloatType::f16, FloatType::bf16}) {
    for (const int64_t rows : {1, 2, 3, 5, 6, 7, 9, 10, 12, 13, 19, 108, 109, 131}) {
      for (const auto& [columns, k] :
           {std::pair<int64_t, int64_t>{83, 385}, {16, 1}, {129, 31}, {150, 800}, {1, 384}, {48, 33}}) {
        const Case c = {.rows = rows, .columns = columns, .k = k, .residual = true, .type = type};
        Data data = make_data(c);
        const std::vector<float> halves = compute(*GetParam().kernels, c, data);
        data.tensor = Tensor::from_floats(data.tensor.shape, data.w);
        ASSERT_TRUE(same_bits(halves, compute(*GetParam().kernels, c, data))) << GetParam().name << " " << c;
      }
    }
  }
}

TEST_P(Gemm, WeightsOf16BitsTakeHalfTheBytesAndAreKeptAsTheyAre) {
  ThreadPool pool(2);
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{16, 32}, {37, 50}, {1, 1}, {33, 65}, {100, 31}, {48, 0}}) {
    const Case c = {.rows = 1, .columns = n, .k = k, .type = FloatType::f16};
    const Data data = make_data(c);
    const PackedWeight packed(*GetParam().kernels, data.tensor, pool);
    ASSERT_EQ(packed.bytes(), static_cast<size_t>((n + 15) / 16 * 16 * k * 2));
    const auto* panels = static_cast<const uint16_t*>(packed.panels());
    for (int64_t row = 0; row < (n + 15) / 16 * 16; ++row)
      for (int64_t i = 0; i < k; ++i)
        ASSERT_EQ(panels[(row / 16 * k + i) * 16 + row % 16], row < n ? data.w16[static_cast<size_t>(row * k + i)] : 0)
            << n << " x " << k << ": " << row << ", " << i;
  }
}

// The contract of design.md: a row's bits do not depend on the rows beside it, on its place, or on the threads.
TEST_P(Gemm, RowsAreTheSameBitsAloneAndTogether) {
  for (const int64_t k : {64, 385, 1153}) {
    const Case c = {.rows = 131, .columns = 83, .k = k, .activation = Activation::gelu, .residual = true};
    const Data data = make_data(c);
    const std::vector<float> all = compute(*GetParam().kernels, c, data);
    for (int64_t count : {1, 2, 3, 5, 8, 13, 14, 15, 29, 57}) {
      for (int64_t begin = 0; begin + count <= c.rows; begin += count + 7) {
        const std::vector<float> some = compute(*GetParam().kernels, c, data, begin, begin + count);
        ASSERT_TRUE(same_bits(some, std::span(all).subspan(static_cast<size_t>(begin * c.columns), some.size())))
            << GetParam().name << " k " << k << " rows " << begin << " + " << count;
      }
    }
    for (int threads : {2, 3}) {
      Case threaded = c;
      threaded.threads = threads;
      EXPECT_TRUE(same_bits(all, compute(*GetParam().kernels, threaded, data))) << threads << " threads";
    }
  }
}

// Large enough for several chunks each way.
TEST_P(Gemm, ThreadsShareLargeWork) {
  for (int threads : {1, 2, 3}) check(GetParam(), {.rows = 150, .columns = 1100, .k = 48, .threads = threads});
  for (int threads : {2, 3}) {
    check(GetParam(), {.rows = 1, .columns = 3000, .k = 96, .threads = threads});
    check(GetParam(), {.rows = 2, .columns = 1000, .k = 96, .packed = false, .threads = threads});
  }
}

// In any block of K and tile of rows, on either side, whatever a NaN's bits; and nothing but their own rows and columns takes notice.
TEST_P(Gemm, NotANumberAndInfinityPassThrough) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const uint32_t nan : {0x7fc00000u, 0x7fffffffu, 0xffffffffu, 0x7f800001u}) {
    const Case c = {.rows = 37, .columns = 35, .k = 400};
    Data data = make_data(c);
    data.a[0 * 400 + 0] = std::bit_cast<float>(nan);
    data.a[17 * 400 + 399] = infinity;
    data.a[36 * 400 + 384] = std::bit_cast<float>(nan);
    data.w[34 * 400 + 390] = std::bit_cast<float>(nan);
    data.w[16 * 400 + 5] = -infinity;
    data.tensor = Tensor::from_floats(data.tensor.shape, data.w);
    const std::vector<float> result = compute(*GetParam().kernels, c, data);
    for (size_t row = 0; row < 37; ++row) {
      for (size_t column = 0; column < 35; ++column) {
        const float got = result[row * 35 + column];
        if (row == 0 || row == 36 || column == 34) {
          ASSERT_TRUE(std::isnan(got)) << row << ", " << column << " of NaN " << nan;
        } else if (row == 17 && column != 16) {
          ASSERT_EQ(got, data.w[column * 400 + 399] > 0 ? infinity : -infinity) << column;
        } else if (column == 16 && row != 17) {
          ASSERT_EQ(got, data.a[row * 400 + 5] > 0 ? -infinity : infinity) << row;
        } else if (column != 16) {
          ASSERT_TRUE(std::isfinite(got)) << row << ", " << column;
        }
      }
    }
  }
}

// The largest numbers neither become infinite nor spoil the sums beside them, and the smallest normal ones count.
TEST_P(Gemm, TheLargestAndTheSmallestNumbers) {
  const float largest = std::numeric_limits<float>::max();
  const Case c = {.rows = 3, .columns = 17, .k = 40, .bias = false};
  Data data = make_data(c);
  for (size_t i = 0; i < 40; ++i) data.a[i] = i == 7 ? largest : 0;
  for (size_t i = 0; i < 40; ++i) data.a[40 + i] = i == 9 ? 0x1p-100f : 0;
  for (size_t n = 0; n < 17; ++n) data.w[n * 40 + 7] = n == 3 ? 1.0f : 0.5f;
  data.tensor = Tensor::from_floats(data.tensor.shape, data.w);
  const std::vector<float> result = compute(*GetParam().kernels, c, data);
  for (size_t n = 0; n < 17; ++n) {
    EXPECT_EQ(result[n], n == 3 ? largest : largest / 2);
    EXPECT_NEAR(result[17 + n] * 0x1p100f, data.w[n * 40 + 9], 1e-6f);
    EXPECT_TRUE(std::isfinite(result[34 + n]));
  }
}

// Every column belongs to one task, and no chunk is empty.
TEST_P(Gemm, PlanCoversAllColumns) {
  for (int threads : {1, 2, 3, 16, 128})
    for (int64_t rows : {1, 2, 16, 55, 57, 128, 1024})
      for (int64_t columns : {1, 16, 17, 48, 384, 1000, 3072, 30522})
        for (int64_t k : {0, 1, 64, 384, 4096}) {
          const GemmPlan plan = plan_gemm(gemm_tiles(*GetParam().kernels), rows, columns, k, threads);
          ASSERT_GE(plan.chunk_panels * plan.column_chunks, panel_count(columns));
          ASSERT_LT(plan.chunk_panels * (plan.column_chunks - 1), panel_count(columns));
          ASSERT_GE(plan.row_chunks * GetParam().kernels->gemm_rows_at_once(), rows);
          ASSERT_LE(plan.row_chunks, rows);
        }
}

TEST(GemmAcrossIsas, Avx2AndAvx512AgreeInEveryBit) {
  const Isa *avx2 = find_isa("avx2"), *avx512 = find_isa("avx512");
  if (avx512 == nullptr) GTEST_SKIP() << "this machine has no AVX-512";
  for (Activation activation : {Activation::none, Activation::gelu, Activation::gelu_tanh, Activation::silu, Activation::tanh}) {
    const Case c = {.rows = 29, .columns = 71, .k = 801, .activation = activation, .residual = true};
    const Data data = make_data(c);
    EXPECT_TRUE(same_bits(compute(*avx2->kernels, c, data), compute(*avx512->kernels, c, data))) << c;
  }
}

}  // namespace
}  // namespace bertie::cpu
