// Drops axes of extent 1: those named, or all there are.
#include "network/op.h"

namespace bertie {
namespace {

void infer_squeeze(OpContext& context) {
  const SymbolicShape& x = context.shape(0);
  std::vector<bool> dropped(x.size(), false);
  if (context.has(1)) {
    const auto axes = context.integers(1);
    if (!axes) context.reject("axes known before the run");
    for (int64_t axis : *axes) {
      const size_t at = context.axis(axis, x.size());
      if (x[at].is_fixed()) context.require(x[at] == Dim(1), "axes of extent 1");
      dropped[at] = true;
    }
  } else {
    for (size_t i = 0; i < x.size(); ++i) dropped[i] = x[i] == Dim(1);
  }
  SymbolicShape shape;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!dropped[i]) shape.push_back(x[i]);
  }
  context.output(context.dtype(0), std::move(shape), context.elements(0));
}

}  // namespace

const OpDescriptor& squeeze_op() {
  static const OpDescriptor op{"squeeze", 1, {"x", "axes"}, {}, infer_squeeze};
  return op;
}

}  // namespace bertie
