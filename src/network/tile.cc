#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_tile(OpContext& context) {
  context.require_index(1);
  SymbolicShape shape = context.shape(0);
  const auto repeats = context.elements(1);
  if (repeats) context.require(repeats->size() == shape.size(), "a repeat for each axis");
  for (size_t i = 0; i < shape.size(); ++i) shape[i] = repeats ? shape[i] * (*repeats)[i] : unknown_dim(context.node().name, i);
  context.output(context.dtype(0), std::move(shape));
}

}  // namespace

const OpDescriptor& tile_op() {
  static const OpDescriptor op{"tile", 2, {"x", "repeats"}, {}, infer_tile};
  return op;
}

}  // namespace bertie
