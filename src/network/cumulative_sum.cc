// ONNX CumSum along an axis given as a scalar.
#include "network/op.h"

namespace bertie {

const OpDescriptor& cumulative_sum_op() {
  static const OpDescriptor op{"cumulative_sum", 2, {"x", "axis"}, {"exclusive", "reverse"}, [](OpContext& context) {
                                 context.require_index(1);
                                 context.output(is_float(context.dtype(0)) ? DType::f32 : context.dtype(0), context.shape(0));
                               }};
  return op;
}

}  // namespace bertie
