// The extents of x from axis `start` to `end` (all, where absent), as i64.
#include <algorithm>

#include "network/op.h"

namespace bertie {
namespace {

void infer_shape(OpContext& context) {
  const SymbolicShape& x = context.shape(0);
  const int64_t rank = static_cast<int64_t>(x.size());
  const auto place = [&](int64_t axis) { return std::clamp<int64_t>(axis < 0 ? axis + rank : axis, 0, rank); };
  const int64_t start = place(context.node().integer("start", 0));
  const int64_t end = std::max(start, place(context.node().integer("end", rank)));
  context.output(DType::i64, {Dim(end - start)}, SymbolicShape(x.begin() + start, x.begin() + end));
}

}  // namespace

const OpDescriptor& shape_op() {
  static const OpDescriptor op{"shape", 1, {"x"}, {"start", "end"}, infer_shape};
  return op;
}

}  // namespace bertie
