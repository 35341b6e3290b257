#include "network/op.h"

namespace bertie {

const OpDescriptor& gather_elements_op() {
  static const OpDescriptor op{"gather_elements", 2, {"x", "indices"}, {"axis"}, [](OpContext& context) {
                                 context.require_index(1);
                                 context.axis(context.node().integer("axis"), context.shape(0).size());
                                 context.require_rank(1, context.shape(0).size());
                                 context.output(is_float(context.dtype(0)) ? DType::f32 : context.dtype(0), context.shape(1));
                               }};
  return op;
}

}  // namespace bertie
