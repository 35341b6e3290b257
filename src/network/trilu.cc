// The upper (or lower) triangle of each matrix of x, zeros elsewhere; k shifts the diagonal to the right.
#include "network/op.h"

namespace bertie {

const OpDescriptor& trilu_op() {
  static const OpDescriptor op{"trilu", 1, {"x", "k"}, {"upper"}, [](OpContext& context) {
                                 context.require(context.shape(0).size() >= 2, "x of rank 2 or more");
                                 if (context.has(1)) context.require_index(1);
                                 context.output(context.dtype(0), context.shape(0));
                               }};
  return op;
}

}  // namespace bertie
