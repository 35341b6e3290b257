// ONNX DynamicQuantizeLinear: u8 values, their scale and their zero point, from the range of the whole tensor; with `per_row` from
// that of each row (the last axis), scales and zero points then being [..., 1].
#include "network/op.h"

namespace bertie {

const OpDescriptor& dynamic_quantize_linear_op() {
  static const OpDescriptor op{"dynamic_quantize_linear", 1, {"x"}, {"per_row"}, [](OpContext& context) {
                                 context.require_float(0);
                                 SymbolicShape ranges;
                                 if (context.node().integer("per_row") != 0) {
                                   context.last_dim(0);
                                   ranges = context.shape(0);
                                   ranges.back() = Dim(1);
                                 }
                                 context.output(DType::u8, context.shape(0));
                                 context.output(DType::f32, ranges);
                                 context.output(DType::u8, ranges);
                               }};
  return op;
}

}  // namespace bertie
