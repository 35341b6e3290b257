// The k largest (or smallest) elements along an axis, in order, and their places as i64. Of equal ones the first come first.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_top_k(OpContext& context) {
  context.require_index(1);
  SymbolicShape shape = context.shape(0);
  const size_t axis = context.axis(context.node().integer("axis", -1), shape.size());
  const auto k = context.elements(1);
  context.require(!k || k->size() == 1, "one k");
  const Dim count = k ? k->front() : unknown_dim(context.node().name, axis);
  if (count.is_fixed()) {
    context.require(count.size >= 0 && (!shape[axis].is_fixed() || count.size <= shape[axis].size),
                    "a k of 0 to the axis's extent");
  }
  shape[axis] = count;
  context.output(widened(context.dtype(0)), shape);
  context.output(DType::i64, shape);
}

}  // namespace

const OpDescriptor& top_k_op() {
  static const OpDescriptor op{"top_k", 2, {"x", "k"}, {"axis", "largest"}, infer_top_k};
  return op;
}

}  // namespace bertie
