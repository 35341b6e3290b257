// The vectorised functions of kernels/math.h against double arithmetic, on every instruction set of this machine.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/isa.h"

namespace bertie::cpu {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// 2^-23 of the result's binade, that of the least normal number at least.
double ulp(double value) {
  int exponent = 0;
  std::frexp(value, &exponent);
  return std::ldexp(1.0, std::max(exponent, -125) - 24);
}

// Every 2003rd float in [low, high]: all binades, in both signs.
std::vector<float> floats_between(double low, double high) {
  std::vector<float> values;
  for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 2003) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (value >= low && value <= high) values.push_back(value);
  }
  return values;
}

struct FunctionCase {
  UnaryFunction function;
  double (*exact)(double);
  double low, high;
  double ulps;      // largest error in ulps of the result, or
  double relative;  // absolute, as a share of |x|
};

TEST(Math, ErrorsAreWithinTheStatedBounds) {
  constexpr double kAll = 1e30;
  const FunctionCase cases[] = {
      {UnaryFunction::exp, [](double x) { return std::exp(x); }, -86.6, 88.72, 1.5, 0},
      {UnaryFunction::erf, [](double x) { return std::erf(x); }, -kAll, kAll, 6.5, 0},
      {UnaryFunction::tanh, [](double x) { return std::tanh(x); }, -kAll, kAll, 3.5, 0},
      {UnaryFunction::sigmoid, sigmoid, -86.6, kAll, 2.5, 0},
      {UnaryFunction::silu, [](double x) { return x * sigmoid(x); }, -86.6, kAll, 2.5, 0},
      {UnaryFunction::gelu, [](double x) { return 0.5 * x * std::erfc(-x * M_SQRT1_2); }, -kAll, kAll, 0, 2.3e-7},
      {UnaryFunction::gelu_tanh, [](double x) { return x * sigmoid(2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)); },
       -1e12, 1e12, 0, 1.3e-7},
  };
  for (const FunctionCase& c : cases) {
    const std::vector<float> x = floats_between(c.low, c.high);
    ASSERT_GT(x.size(), 100000u);
    for (const Isa& isa : available_isas()) {
      std::vector<float> out(x.size());
      isa.kernels->unary(c.function, x.data(), out.data(), static_cast<int64_t>(x.size()));
      for (size_t i = 0; i < x.size(); ++i) {
        const double exact = c.exact(x[i]);
        const double bound = c.ulps > 0 ? c.ulps * ulp(exact) : c.relative * std::abs(static_cast<double>(x[i])) + 0x1p-149;
        ASSERT_LE(std::abs(out[i] - exact), bound) << isa.name << ", function " << static_cast<int>(c.function) << " of " << x[i];
      }
    }
  }
}

TEST(Math, ExtremesAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const struct {
    UnaryFunction function;
    float x, expected;
  } cases[] = {
      {UnaryFunction::exp, -kInfinity, 0},
      {UnaryFunction::exp, kInfinity, kInfinity},
      {UnaryFunction::exp, -87, 0},
      {UnaryFunction::exp, 89, kInfinity},
      {UnaryFunction::exp, 0, 1},
      {UnaryFunction::tanh, kInfinity, 1},
      {UnaryFunction::tanh, -kInfinity, -1},
      {UnaryFunction::erf, kInfinity, 1},
      {UnaryFunction::erf, -kInfinity, -1},
      {UnaryFunction::sigmoid, kInfinity, 1},
      {UnaryFunction::sigmoid, -kInfinity, 0},
      {UnaryFunction::gelu, 1e30f, 1e30f},
      {UnaryFunction::gelu, -1e30f, 0},
      {UnaryFunction::gelu_tanh, 1e30f, 1e30f},
      {UnaryFunction::gelu_tanh, -1e30f, 0},
      {UnaryFunction::silu, -1e30f, 0},
      {UnaryFunction::relu, -kInfinity, 0},
      {UnaryFunction::gelu, kInfinity, kInfinity},
      {UnaryFunction::reciprocal, 0, kInfinity},
      {UnaryFunction::abs, -kInfinity, kInfinity},
      {UnaryFunction::neg, 2, -2},
  };
  for (const Isa& isa : available_isas()) {
    for (const auto& c : cases) {
      float out = -1;
      isa.kernels->unary(c.function, &c.x, &out, 1);
      EXPECT_EQ(out, c.expected) << isa.name << ", function " << static_cast<int>(c.function) << " of " << c.x;
    }
    for (int function = 0; function <= static_cast<int>(UnaryFunction::gelu_tanh); ++function) {
      const float x = std::numeric_limits<float>::quiet_NaN();
      float out = 0;
      isa.kernels->unary(static_cast<UnaryFunction>(function), &x, &out, 1);
      EXPECT_TRUE(std::isnan(out)) << isa.name << ", function " << function;
    }
  }
}

}  // namespace
}  // namespace bertie::cpu
