#include <array>
#include <cmath>

#include "quant/fp8.h"
#include "reference/eight_bit_linear.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

std::array<double, 256> numbers_of_codes() {
  std::array<double, 256> numbers;
  for (size_t code = 0; code < numbers.size(); ++code) numbers[code] = fp8_to_float(static_cast<uint8_t>(code));
  return numbers;
}

}  // namespace

float fp8_product(const uint8_t* x, const uint8_t* weight, int64_t depth, float scale, float weight_scale, const float* bias) {
  static const std::array<double, 256> kNumbers = numbers_of_codes();
  double sum = 0;
  for (int64_t k = 0; k < depth; ++k) sum += kNumbers[x[k]] * kNumbers[weight[k]];
  return std::fma(static_cast<float>(sum), scale * weight_scale, bias ? *bias : 0.0f);
}

PrepareResult prepare_fp8_linear(const KernelRequest& request) { return prepare_eight_bit_linear<uint8_t>(request); }

}  // namespace bertie::reference
