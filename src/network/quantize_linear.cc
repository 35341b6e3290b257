// ONNX QuantizeLinear: saturate(round to even(x / scale) + zero_point), per tensor or along `axis`.
#include "network/op.h"

namespace bertie {

const OpDescriptor& quantize_linear_op() {
  static const OpDescriptor op{"quantize_linear", 2, {"x", "scale", "zero_point"}, {"axis", "to"}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.require_float(1);
                                 context.require(context.shape(1).size() <= 1, "a scale for the tensor or for an axis");
                                 DType to = DType::u8;
                                 if (context.has(2)) {
                                   to = context.dtype(2);
                                 } else if (context.node().text("to") == "i8") {
                                   to = DType::i8;
                                 }
                                 context.require(to == DType::u8 || to == DType::i8, "a zero_point of i8 or u8");
                                 context.output(to, context.shape(0));
                               }};
  return op;
}

}  // namespace bertie
