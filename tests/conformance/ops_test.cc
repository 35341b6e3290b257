// The cpu backend, on every instruction set of this machine, against the reference; and its promises of equal bits.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "cpu/backend.h"
#include "cpu/isa.h"
#include "reference/backend.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/scoped_isa.h"

namespace bertie::test {
namespace {

OpResult run_cpu(const OpCase& op_case, int threads = 1) {
  OpResult result = run_op(cpu_backend(), op_case, threads);
  EXPECT_FALSE(result.kernel.empty()) << "refused: " << result.refusal;
  return result;
}

void expect_close(const ConformanceCase& c, const OpResult& actual, const OpResult& expected) {
  ASSERT_EQ(actual.shape, expected.shape) << c.name;
  double squares = 0, error_squares = 0;
  for (size_t i = 0; i < expected.values.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual.values[i]) - expected.values[i]);
    ASSERT_TRUE(error <= c.element_bound) << c.name << ", " << actual.kernel << ": first bad element " << i << " of "
                                          << expected.values.size() << " is " << actual.values[i] << ", not "
                                          << expected.values[i] << " (bound " << c.element_bound << ")";
    squares += static_cast<double>(expected.values[i]) * expected.values[i];
    error_squares += error * error;
  }
  EXPECT_LE(std::sqrt(error_squares), c.whole_bound * std::sqrt(squares)) << c.name << ", " << actual.kernel;
}

// Against the reference, on each instruction set; the same bits on one, two and five threads, and on avx2 as on avx512, but for the
// products of float32 that amx takes its own way.
void check_cases(const std::vector<ConformanceCase>& cases) {
  for (const ConformanceCase& c : cases) {
    const OpResult expected = run_op(reference_backend(), c.op);
    std::vector<float> avx2;
    for (const cpu::Isa& isa : checked_isas()) {
      const ScopedIsa scoped(isa.name);
      const OpResult actual = run_cpu(c.op);
      if (actual.kernel.empty()) FAIL() << c.name;
      EXPECT_NE(actual.kernel.find(isa.name), std::string::npos);
      expect_close(c, actual, expected);
      for (int threads : {2, 5})
        expect_same_bits(fmt::format("{}, {} threads", c.name, threads), run_cpu(c.op, threads).values, actual.values);
      if (isa.name == "avx2") avx2 = actual.values;
      const bool own_sums = isa.kernels->gemm_in_parts() && (c.op.op == "linear" || c.op.op == "matmul");
      if (isa.vectors == "avx512" && !own_sums && !avx2.empty())
        expect_same_bits(c.name + ", avx512 against avx2", actual.values, avx2);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Conformance, Attention) { check_cases(attention_cases()); }
TEST(Conformance, PaddedAttention) { check_cases(padded_attention_cases()); }
TEST(Conformance, PaddedAttentionShowsABiasThatIsNoNumber) {
  const NanBiasCase c;
  c.check(run_op(reference_backend(), c.op), "reference");
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    c.check(run_cpu(c.op), isa.name);
  }
}
TEST(Conformance, RowOps) { check_cases(row_op_cases()); }
TEST(Conformance, ElementOps) { check_cases(element_op_cases()); }
TEST(Conformance, Linear) { check_cases(linear_cases()); }
// The oracle of the fused op is what it stands for.
TEST(Conformance, LinearSkipLayerNormIsItsTwoOps) {
  for (const bool eight_bits : {false, true}) {
    for (const ConformanceCase& c : linear_skip_layer_norm_cases(eight_bits)) {
      const std::vector<Operand>& inputs = c.op.inputs;
      OpCase linear{inputs[0].tensor.dtype == DType::i8   ? "int8_linear"
                    : inputs[0].tensor.dtype == DType::u8 ? "fp8_linear"
                                                          : "linear",
                    {},
                    {inputs[0], inputs[1], inputs[2], inputs[3], inputs[4]},
                    {},
                    {}};
      if (!eight_bits) linear.inputs = {inputs[0], inputs[2], inputs[4]};
      const OpResult product = run_op(reference_backend(), linear);
      const OpCase norm{"skip_layer_norm",
                        c.op.attributes,
                        {{tensor_of(product.shape, product.values)}, inputs[5], inputs[6], inputs[7]},
                        {},
                        {}};
      expect_same_bits(c.name, run_op(reference_backend(), c.op, 2).values, run_op(reference_backend(), norm).values);
    }
  }
}
TEST(Conformance, Matmul) { check_cases(matmul_cases()); }
TEST(Conformance, PaddedOps) { check_cases(padded_op_cases()); }
TEST(Conformance, TopK) { check_cases(top_k_cases()); }

// The reference against a sorted row and the reference's own sum.
TEST(Conformance, TopKLogSumExpIsASortAndAReduce) {
  for (const ConformanceCase& c : top_k_cases()) {
    const auto k = static_cast<size_t>(std::get<int64_t>(c.op.attributes.at("k")));
    const OpResult fused = run_op(reference_backend(), c.op);
    const OpResult sums = run_op(
        reference_backend(),
        {"reduce", {{"function", std::string("log_sum_exp")}}, {c.op.inputs[0], {indices({1}, {-1}, DType::i64), true}}, {}, {}});
    const auto* x = c.op.inputs[0].tensor.view().as<float>();
    const auto extent = static_cast<size_t>(c.op.inputs[0].tensor.shape.back());
    for (size_t row = 0; row < sums.values.size(); ++row) {
      const std::span<const float> own = std::span(fused.values).subspan(row * (2 * k + 1), 2 * k + 1);
      std::vector<float> sorted(x + row * extent, x + (row + 1) * extent);
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      for (size_t i = 0; i < k; ++i) {
        ASSERT_EQ(own[i], sorted[i]) << c.name;
        ASSERT_EQ(own[i], x[row * extent + static_cast<size_t>(own[k + i])]) << c.name;
        ASSERT_TRUE(i == 0 || own[i] < own[i - 1] || own[k + i] > own[k + i - 1]) << c.name;
      }
      ASSERT_EQ(own[2 * k], sums.values[row]) << c.name;
    }
  }
}

// NaN comes last, and the sum is one; an infinity is the sum.
TEST(Conformance, TopKOfWhatIsNoNumber) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  std::vector<float> values(100, nan);
  values[70] = 1;
  values[98] = 2;
  std::vector<float> large(100, -infinity);
  large[99] = infinity;
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    const OpResult result = run_cpu({"top_k_log_sum_exp", {{"k", int64_t{4}}}, {{tensor_of({1, 100}, values)}}, {}, {}});
    EXPECT_EQ(std::vector<float>(result.values.begin() + 4, result.values.begin() + 8), (std::vector<float>{98, 70, 0, 1}));
    EXPECT_TRUE(std::isnan(result.values[8]));
    const OpResult top = run_cpu({"top_k_log_sum_exp", {{"k", int64_t{2}}}, {{tensor_of({1, 100}, large)}}, {}, {}});
    EXPECT_EQ(top.values, (std::vector<float>{infinity, -infinity, 99, 0, infinity}));
  }
}

TEST(Conformance, AttentionOfASequenceDoesNotDependOnItsNeighbours) {
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    for (const bool relative_bias : {false, true}) {
      const AttentionShape shape{
          .heads = 3, .head_dim = 40, .lengths = {5, 0, 150, 1, 16, 300, 12, 13}, .relative_bias = relative_bias};
      const ConformanceCase batch = attention_case(shape);
      for (int threads : {1, 3}) {
        const OpResult together = run_cpu(batch.op, threads);
        const int64_t width = shape.heads * shape.head_dim;
        int64_t begin = 0;
        for (int64_t length : shape.lengths) {
          OpCase alone = batch.op;
          alone.lengths = {length};
          alone.inputs[0].tensor = slice_rows(batch.op.inputs[0].tensor, begin, length);
          const std::span<const float> rows(together.values.data() + begin * width, static_cast<size_t>(length * width));
          expect_same_bits(fmt::format("{}, length {}", isa.name, length), run_cpu(alone, 1).values, rows);
          begin += length;
        }
      }
    }
  }
}

// Rows that are queries only change nothing for the rows behind them, and equal a query of the same content among those.
TEST(Conformance, QueriesOnlyAreAttendedByNone) {
  const int64_t length = 150, width = 80;
  std::mt19937 random(11);
  OpCase plain{"attention", {{"heads", int64_t{2}}, {"scale", 0.3}}, {}, {length}, {}};
  OpCase led{"attention", plain.attributes, {}, {length + 1}, {}, {1}};
  for (int i = 0; i < 3; ++i) {
    plain.inputs.push_back({random_tensor(random, {length, width})});
    const float* data = plain.inputs.back().tensor.view().as<float>();
    std::vector<float> rows(data + 7 * width, data + 8 * width);  // the leading row repeats row 7
    rows.insert(rows.end(), data, data + length * width);
    led.inputs.push_back({tensor_of({length + 1, width}, rows)});
  }
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    const OpResult without = run_cpu(plain), with = run_cpu(led, 2);
    const std::span<const float> values(with.values);
    expect_same_bits(std::string(isa.name), values.subspan(static_cast<size_t>(width)), without.values);
    expect_same_bits(std::string(isa.name), values.first(static_cast<size_t>(width)),
                     std::span(without.values).subspan(7 * static_cast<size_t>(width), static_cast<size_t>(width)));
  }
}

TEST(Conformance, AttentionOfQueryRowsIsThatOfAllRows) {
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    AttentionShape shape{.heads = 2, .head_dim = 32, .lengths = {5, 150, 16, 300}};
    ConformanceCase all = attention_case(shape);
    const OpResult full = run_cpu(all.op);
    const std::vector<int64_t> rows = {0, 4, 5, 6, 100, 154, 155, 155, 171, 300, 470};
    all.op.inputs[5] = {indices({static_cast<int64_t>(rows.size())}, rows)};
    const OpResult some = run_cpu(all.op, 2);
    for (size_t i = 0; i < rows.size(); ++i) {
      expect_same_bits(fmt::format("{}, row {}", isa.name, rows[i]), std::span(some.values).subspan(i * 64, 64),
                       std::span(full.values).subspan(static_cast<size_t>(rows[i]) * 64, 64));
    }
  }
}

TEST(Conformance, PaddedAttentionIsThatOfThePackedRows) {
  const int64_t length = 45, width = 64;
  std::mt19937 random(3);
  OpCase padded{"attention", {{"heads", int64_t{2}}, {"scale", 0.3}}, {}, {}, {}};
  for (int i = 0; i < 3; ++i) padded.inputs.push_back({random_tensor(random, {1, length, width})});
  std::vector<int64_t> mask;
  for (int64_t i = 0; i < length; ++i) mask.push_back(i % 4 != 2);
  padded.inputs.push_back({indices({1, length}, mask)});
  OpCase packed{"attention", padded.attributes, {}, {0}, {}};
  for (int i = 0; i < 3; ++i) {
    std::vector<float> rows;
    const float* data = padded.inputs[static_cast<size_t>(i)].tensor.view().as<float>();
    for (int64_t row = 0; row < length; ++row) {
      if (mask[static_cast<size_t>(row)]) rows.insert(rows.end(), data + row * width, data + (row + 1) * width);
    }
    packed.lengths = {static_cast<int64_t>(rows.size()) / width};
    packed.inputs.push_back({tensor_of({packed.lengths[0], width}, rows)});
  }
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    const OpResult a = run_cpu(padded), b = run_cpu(packed);
    size_t place = 0;
    for (size_t row = 0; row < mask.size(); ++row) {
      if (!mask[row]) continue;
      expect_same_bits(std::string(isa.name), std::span(a.values).subspan(row * width, width),
                       std::span(b.values).subspan(place * width, width));
      ++place;
    }
  }
}

// What cpu does not take, and why: an unexpected pass is a failure too.
TEST(Conformance, CpuRefuses) {
  std::mt19937 random(1);
  const Tensor x = random_tensor(random, {2, 6}), wide = random_tensor(random, {2, 514});
  const Tensor half = random_tensor(random, {2, 6}, DType::f16), vector = random_tensor(random, {6});
  const struct {
    OpCase op;
    const char* reason;
  } kCases[] = {
      {{"unary", {{"function", std::string("log")}}, {{x}}, {}, {}}, "no vectorised log"},
      {{"elementwise", {{"function", std::string("pow")}}, {{x}, {x}}, {}, {}}, "no vectorised pow"},
      {{"matmul", {}, {{vector}, {random_tensor(random, {6, 2})}}, {}, {}}, "a vector"},
      {{"softmax", {{"axis", int64_t{0}}}, {{x}}, {}, {}}, "an axis that is not the last"},
      {{"softmax", {{"logarithm", int64_t{1}}}, {{x}}, {}, {}}, "no vectorised logarithm"},
      {{"reduce", {{"function", std::string("sum")}}, {{x}}, {}, {}}, "axes other than the last"},
      {{"reduce", {{"function", std::string("max")}}, {{x}}, {}, {}}, "no vectorised max"},
      {{"transpose", {}, {{half}}, {}, {}}, "x is f16, not f32"},
      {{"gelu", {}, {{half}}, {}, {}}, "x is f16, not f32"},
      {{"top_k_log_sum_exp", {{"k", int64_t{257}}}, {{wide}}, {}, {}}, "257 of a row: at most 256"},
      {{"layer_norm", {{"epsilon", 1e-5}}, {{x}, {vector}, {vector}}, {}, {}}, "gamma is not constant"},
      {{"pool", {{"mode", std::string("mean")}}, {{random_tensor(random, {1, 2, 6})}, {indices({1, 2}, {1, 0})}}, {}, {}},
       "a mask: packed rows need none"},
      {{"attention", {{"heads", int64_t{2}}}, {{wide}, {wide}, {wide}}, {2}, {}}, "heads of 257: at most 256"},
      {{"attention", {{"heads", int64_t{2}}}, {{x}, {x}, {x}, {}, {}, {indices({1}, {0}, DType::i64)}}, {2}, {}},
       "query_rows are not i32"},
      {{"embedding", {}, {{random_tensor(random, {3, 4}, DType::f64), true}, {indices({1}, {0})}}, {}, {}}, "the table is f64"},
  };
  for (const auto& c : kCases) {
    const OpResult result = run_op(cpu_backend(), c.op);
    EXPECT_EQ(result.kernel, "") << c.op.op << ", expected: " << c.reason;
    EXPECT_EQ(result.refusal, c.reason);
    EXPECT_NE(run_op(reference_backend(), c.op).kernel, "");
  }
}

}  // namespace
}  // namespace bertie::test
