#include "network/op.h"

namespace bertie {

const OpDescriptor& gather_rows_op() {
  static const OpDescriptor op{"gather_rows", 2, {"x", "rows"}, {}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.require_rank(0, 2);
                                 context.require_index(1);
                                 context.require_rank(1, 1);
                                 context.output(DType::f32, {context.shape(1)[0], context.shape(0)[1]});
                               }};
  return op;
}

}  // namespace bertie
