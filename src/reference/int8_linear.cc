#include "quant/int8.h"
#include "reference/eight_bit_linear.h"
#include "reference/ops.h"

namespace bertie::reference {

float int8_product(const int8_t* x, const int8_t* weight, int64_t depth, float scale, float weight_scale, const float* bias) {
  int32_t sum = 0;
  for (int64_t k = 0; k < depth; ++k) sum += x[k] * weight[k];
  return int8_result(sum, scale, weight_scale, bias);
}

PrepareResult prepare_int8_linear(const KernelRequest& request) { return prepare_eight_bit_linear<int8_t>(request); }

}  // namespace bertie::reference
