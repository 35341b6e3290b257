#include "network/op.h"

namespace bertie {

const OpDescriptor& clip_op() {
  static const OpDescriptor op{"clip", 1, {"x", "low", "high"}, {}, [](OpContext& context) {
                                 for (size_t bound : {1, 2}) {
                                   if (context.has(bound)) context.require(context.shape(bound).size() <= 1, "scalar bounds");
                                 }
                                 context.output(is_float(context.dtype(0)) ? DType::f32 : context.dtype(0), context.shape(0));
                               }};
  return op;
}

}  // namespace bertie
