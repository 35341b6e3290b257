// Adds axes of extent 1 at these places of the result.
#include "network/op.h"

namespace bertie {
namespace {

void infer_unsqueeze(OpContext& context) {
  const auto axes = context.integers(1);
  if (!axes) context.reject("axes known before the run");
  const SymbolicShape& x = context.shape(0);
  const size_t rank = x.size() + axes->size();
  std::vector<bool> added(rank, false);
  for (int64_t axis : *axes) {
    const size_t at = context.axis(axis, rank);
    context.require(!added[at], "axes named once");
    added[at] = true;
  }
  SymbolicShape shape;
  for (size_t i = 0, next = 0; i < rank; ++i) shape.push_back(added[i] ? Dim(1) : x[next++]);
  auto elements = rank <= 1 ? context.elements(0) : std::nullopt;
  context.output(context.dtype(0), std::move(shape), std::move(elements));
}

}  // namespace

const OpDescriptor& unsqueeze_op() {
  static const OpDescriptor op{"unsqueeze", 2, {"x", "axes"}, {}, infer_unsqueeze};
  return op;
}

}  // namespace bertie
