// ONNX ScatterND: x with updates written at the coordinates that the last axis of the indices holds, or added, ... to what is there.
#include "network/op.h"

namespace bertie {
namespace {

void infer_scatter_nd(OpContext& context) {
  context.require_index(1);
  const SymbolicShape& x = context.shape(0);
  const SymbolicShape& indices = context.shape(1);
  const Dim& length = context.last_dim(1);
  context.require(length.is_fixed() && length.size <= static_cast<int64_t>(x.size()),
                  "coordinates of a known length, no more than x has axes");
  context.require_rank(2, indices.size() - 1 + x.size() - static_cast<size_t>(length.size));
  for (size_t i = 0; i < context.shape(2).size(); ++i) {
    const Dim& update = context.shape(2)[i];
    const Dim& own = i + 1 < indices.size() ? indices[i] : x[i + 1 - indices.size() + static_cast<size_t>(length.size)];
    if (update.is_fixed() && own.is_fixed()) context.require(update == own, "updates of shape indices.shape[:-1] + x.shape[k:]");
  }
  context.require(widened(context.dtype(0)) == widened(context.dtype(2)), "x and updates of one dtype");
  context.require_one_of("reduction", context.node().text("reduction", "none"), {"none", "add", "mul", "min", "max"});
  context.output(widened(context.dtype(0)), x);
}

}  // namespace

const OpDescriptor& scatter_nd_op() {
  static const OpDescriptor op{"scatter_nd", 3, {"x", "indices", "updates"}, {"reduction"}, infer_scatter_nd};
  return op;
}

}  // namespace bertie
