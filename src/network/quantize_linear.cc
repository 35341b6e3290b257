// ONNX QuantizeLinear: saturate(round to even(x / scale) + zero_point), per tensor, along `axis`, or in blocks of `block_size` along it.
#include "network/scales.h"

namespace bertie {

const OpDescriptor& quantize_linear_op() {
  static const OpDescriptor op{
      "quantize_linear", 2, {"x", "scale", "zero_point"}, {"axis", "block_size", "to"}, [](OpContext& context) {
        context.require(is_float(context.dtype(0)) || context.dtype(0) == DType::i32, "an x of floats or i32");
        DType to = DType::u8;
        if (context.has(2)) {
          to = context.dtype(2);
        } else if (context.node().text("to") == "i8") {
          to = DType::i8;
        }
        context.require(to == DType::u8 || to == DType::i8, "a zero_point of i8 or u8");
        require_scales(context);
        context.output(to, context.shape(0));
      }};
  return op;
}

}  // namespace bertie
