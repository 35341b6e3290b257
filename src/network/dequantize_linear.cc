// ONNX DequantizeLinear: (x - zero_point) * scale, per tensor or along `axis`.
#include "network/op.h"

namespace bertie {

const OpDescriptor& dequantize_linear_op() {
  static const OpDescriptor op{"dequantize_linear", 2, {"x", "scale", "zero_point"}, {"axis"}, [](OpContext& context) {
                                 context.require(!is_float(context.dtype(0)) && context.dtype(0) != DType::boolean,
                                                 "an integer x");
                                 context.require_float(1);
                                 context.require(context.shape(1).size() <= 1, "a scale for the tensor or for an axis");
                                 if (context.has(2))
                                   context.require(context.dtype(2) == context.dtype(0), "a zero_point of x's dtype");
                                 context.output(DType::f32, context.shape(0));
                               }};
  return op;
}

}  // namespace bertie
