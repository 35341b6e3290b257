#include "reference/kernel.h"

#include <array>
#include <cmath>

#include "base/error.h"

namespace bertie::reference {

bool attended(const TensorView& mask, int64_t index) {
  if (!mask.data) return true;
  switch (mask.dtype) {
    case DType::boolean:
    case DType::i8:
    case DType::u8: return mask.as<uint8_t>()[index] != 0;
    case DType::i32:
    case DType::i64: return integer(mask, index) != 0;
    default: return number(mask, index) != 0;
  }
}

double gelu(double x) { return 0.5 * x * std::erfc(-x * M_SQRT1_2); }

double gelu_tanh(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

ScalarFunction scalar_function(std::string_view name) {
  struct Named {
    std::string_view name;
    ScalarFunction function;
  };
  static constexpr std::array<Named, 14> kFunctions = {{
      {"none", [](double x) { return x; }},
      {"gelu", gelu},
      {"gelu_tanh", gelu_tanh},
      {"relu", [](double x) { return x < 0 ? 0 : x; }},
      {"silu", [](double x) { return x / (1 + std::exp(-x)); }},
      {"tanh", [](double x) { return std::tanh(x); }},
      {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); }},
      {"erf", [](double x) { return std::erf(x); }},
      {"exp", [](double x) { return std::exp(x); }},
      {"log", [](double x) { return std::log(x); }},
      {"sqrt", [](double x) { return std::sqrt(x); }},
      {"reciprocal", [](double x) { return 1 / x; }},
      {"neg", [](double x) { return -x; }},
      {"abs", [](double x) { return std::fabs(x); }},
  }};
  for (const Named& named : kFunctions) {
    if (named.name == name) return named.function;
  }
  fail(ErrorCode::unsupported, "reference: no function '{}'", name);
}

}  // namespace bertie::reference
