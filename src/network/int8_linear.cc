// linear on eight-bit integers: activation(fma(x weight^T, x_scale * weight_scale, bias)) + residual, the product exact (src/quant/int8.h).
#include "network/eight_bit_linear.h"

namespace bertie {

const OpDescriptor& int8_linear_op() {
  static const OpDescriptor op =
      eight_bit_linear_op("int8_linear", [](OpContext& context) { infer_eight_bit_linear(context, DType::i8); });
  return op;
}

}  // namespace bertie
