// Linear layers in bfloat16 on each instruction set that has such products, against the reference, which rounds the factors alike.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpu/backend.h"
#include "cpu/bf16_gemm.h"
#include "cpu/isa.h"
#include "reference/backend.h"
#include "tests/conformance/scoped_isa.h"
#include "tests/support/op_runner.h"

namespace bertie::test {
namespace {

OpCase linear_case(std::mt19937& random, int64_t rows, int64_t k, int64_t n, const char* activation, DType x, DType weight,
                   bool bias) {
  OpCase c{"linear", {{"precision", std::string("bf16")}, {"activation", std::string(activation)}}, {}, {}, {}};
  c.inputs = {{random_tensor(random, {rows, k}, x)}, {random_tensor(random, {n, k}, weight), true}};
  c.inputs.push_back(bias ? Operand{random_tensor(random, {n}), true} : Operand{});
  return c;
}

// Both sums are of the same exact products, in float32 of any order against double: (K + 4) eps a unit of sum |a w|, which is at most
// 4 sqrt(K) + 4 here in the mean; taken ten times over, and a little for the activation.
void check(const OpCase& c, int64_t k, const std::string& what) {
  const OpResult expected = run_op(reference_backend(), c);
  const double bound =
      10 * static_cast<double>(k + 4) * (4 * std::sqrt(static_cast<double>(k)) + 4) * std::numeric_limits<float>::epsilon() / 2 +
      1e-6;
  for (const cpu::Isa& isa : checked_isas()) {
    if (!cpu::has_bf16_gemm(*isa.kernels)) continue;
    const ScopedIsa scoped(isa.name);
    std::vector<float> first;
    for (int threads : {1, 2, 5}) {
      const OpResult result = run_op(cpu_backend(), c, threads);
      EXPECT_EQ(result.kernel, fmt::format("cpu_{}_bf16_linear", isa.name)) << what << ": " << result.refusal;
      ASSERT_EQ(result.shape, expected.shape) << what;
      for (size_t i = 0; i < expected.values.size(); ++i)
        ASSERT_NEAR(result.values[i], expected.values[i], bound) << what << ", " << result.kernel << ": first bad element " << i;
      if (threads == 1) first = result.values;
      EXPECT_EQ(result.values, first) << what << ", " << threads << " threads";
    }
  }
}

TEST(Bf16Conformance, LinearIsTheReferences) {
  std::mt19937 random(7);
  for (int64_t rows : {0, 1, 2, 9, 10, 15, 16, 17, 33, 130})
    for (int64_t k : {0, 1, 31, 32, 33, 300, 800})
      for (int64_t n : {1, 16, 35}) {
        const bool halves = rows % 2 == 0;
        const OpCase c = linear_case(random, rows, k, n, n == 35 ? "gelu" : "none", halves ? DType::bf16 : DType::f32,
                                     n == 16 ? DType::bf16 : DType::f32, k != 32);
        check(c, k, fmt::format("{} rows, {} by {}", rows, n, k));
      }
}

TEST(Bf16Conformance, OtherLayersAreNotInBf16) {
  std::mt19937 random(8);
  OpCase c = linear_case(random, 3, 40, 20, "none", DType::f32, DType::f32, true);
  c.attributes.erase("precision");
  for (const cpu::Isa& isa : checked_isas()) {
    const ScopedIsa scoped(isa.name);
    EXPECT_EQ(run_op(cpu_backend(), c).kernel, fmt::format("cpu_{}_f32_linear", isa.name));
  }
}

}  // namespace
}  // namespace bertie::test
