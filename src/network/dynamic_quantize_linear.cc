// ONNX DynamicQuantizeLinear: u8 values, their scale and their zero point, from the range of the whole tensor.
#include "network/op.h"

namespace bertie {

const OpDescriptor& dynamic_quantize_linear_op() {
  static const OpDescriptor op{"dynamic_quantize_linear", 1, {"x"}, {}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.output(DType::u8, context.shape(0));
                                 context.output(DType::f32, {});
                                 context.output(DType::u8, {});
                               }};
  return op;
}

}  // namespace bertie
