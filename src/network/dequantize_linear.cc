// ONNX DequantizeLinear: (x - zero_point) * scale, per tensor, along `axis`, or in blocks of `block_size` along it.
#include "network/scales.h"

namespace bertie {

const OpDescriptor& dequantize_linear_op() {
  static const OpDescriptor op{
      "dequantize_linear", 2, {"x", "scale", "zero_point"}, {"axis", "block_size"}, [](OpContext& context) {
        context.require(!is_float(context.dtype(0)) && context.dtype(0) != DType::boolean, "an integer x");
        if (context.has(2)) context.require(context.dtype(2) == context.dtype(0), "a zero_point of x's dtype");
        require_scales(context);
        context.output(DType::f32, context.shape(0));
      }};
  return op;
}

}  // namespace bertie
