// The rows [b, s] of a padded tensor that the batch's tokens stand for, one after another. An extent of 1 in place of the batch's
// or the longest sequence's is repeated, as in NumPy's broadcasting.
#include "network/op.h"

namespace bertie {

const OpDescriptor& pack_rows_op() {
  static const OpDescriptor op{"pack_rows", 1, {"x"}, {}, [](OpContext& context) {
                                 const SymbolicShape& x = context.shape(0);
                                 context.require(x.size() >= 2, "x [batch, sequence, ...]");
                                 SymbolicShape shape(x.begin() + 1, x.end());
                                 shape[0] = Dim("tokens");
                                 context.output(is_float(context.dtype(0)) ? DType::f32 : context.dtype(0), std::move(shape));
                               }};
  return op;
}

}  // namespace bertie
