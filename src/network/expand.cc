// ONNX Expand: broadcasts x against a shape.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_expand(OpContext& context) {
  context.require_index(1);
  context.require_rank(1, 1);
  const auto wanted = context.elements(1);
  SymbolicShape target;
  if (wanted) {
    target = *wanted;
  } else {
    const Dim& rank = context.shape(1)[0];
    context.require(rank.is_fixed(), "a shape of known length");
    for (int64_t i = 0; i < rank.size; ++i) target.push_back(unknown_dim(context.node().name, static_cast<size_t>(i)));
  }
  const auto shape = broadcast(context.shape(0), target);
  if (!shape) context.reject(fmt::format("an x that broadcasts to {}", to_string(target)));
  context.output(context.dtype(0), *shape);
}

}  // namespace

const OpDescriptor& expand_op() {
  static const OpDescriptor op{"expand", 2, {"x", "shape"}, {}, infer_expand};
  return op;
}

}  // namespace bertie
