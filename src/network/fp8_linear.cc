// linear on codes of e4m3, in u8: activation(fma(x weight^T, x_scale * weight_scale, bias)) + residual (src/quant/fp8.h).
#include "network/eight_bit_linear.h"

namespace bertie {

const OpDescriptor& fp8_linear_op() {
  static const OpDescriptor op =
      eight_bit_linear_op("fp8_linear", [](OpContext& context) { infer_eight_bit_linear(context, DType::u8); });
  return op;
}

}  // namespace bertie
