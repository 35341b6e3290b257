// ONNX GatherND: the last axis of the indices holds coordinates into x's axes behind the `batch_dims` that the two share.
#include "network/op.h"

namespace bertie {
namespace {

void infer_gather_nd(OpContext& context) {
  context.require_index(1);
  const SymbolicShape& x = context.shape(0);
  const SymbolicShape& indices = context.shape(1);
  const Dim& length = context.last_dim(1);
  context.require(length.is_fixed(), "coordinates of a length known before the run");
  const int64_t batch = context.node().integer("batch_dims");
  context.require(batch >= 0 && batch < static_cast<int64_t>(indices.size()), "batch_dims below the rank of the indices");
  context.require(length.size >= 1 && batch + length.size <= static_cast<int64_t>(x.size()),
                  "coordinates of 1 to as many numbers as x has axes behind the batch_dims");
  for (size_t i = 0; i < static_cast<size_t>(batch); ++i) {
    if (x[i].is_fixed() && indices[i].is_fixed()) context.require(x[i] == indices[i], "equal batch_dims");
  }
  SymbolicShape shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), x.begin() + batch + length.size, x.end());
  context.output(widened(context.dtype(0)), std::move(shape));
}

}  // namespace

const OpDescriptor& gather_nd_op() {
  static const OpDescriptor op{"gather_nd", 2, {"x", "indices"}, {"batch_dims"}, infer_gather_nd};
  return op;
}

}  // namespace bertie
