// What a choice among many needs of a row of scores: the k largest, descending, then their places as floats, then the logarithm of the sum of
// the exponentials of all, so that exp(score - it) is a score's share. Of equal scores the first comes first; NaN comes last.
#include "network/op.h"

namespace bertie {

const OpDescriptor& top_k_log_sum_exp_op() {
  static const OpDescriptor op{"top_k_log_sum_exp", 1, {"x"}, {"k"}, [](OpContext& context) {
                                 constexpr int64_t kExactFloats = int64_t{1} << 24;
                                 context.require_float(0);
                                 const Dim& extent = context.last_dim(0);
                                 const int64_t k = context.node().integer("k");
                                 context.require(
                                     k > 0 && (!extent.is_fixed() || (k <= extent.size && extent.size <= kExactFloats)),
                                     "a k of 1 to the last axis's extent, which is at most 2^24");
                                 SymbolicShape shape = context.shape(0);
                                 shape.back() = Dim(2 * k + 1);
                                 context.output(DType::f32, std::move(shape));
                               }};
  return op;
}

}  // namespace bertie
