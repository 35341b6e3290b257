// ONNX OneHot: values [off, on]; a new axis of extent `depth`, on where the index says. An index outside [-depth, depth) is off throughout.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_one_hot(OpContext& context) {
  context.require(context.shape(1).size() <= 1, "a depth of one number");
  context.require(context.shape(2) == SymbolicShape{Dim(2)}, "values [off, on]");
  SymbolicShape shape = context.shape(0);
  const size_t axis = context.axis(context.node().integer("axis", -1), shape.size() + 1);
  const auto depth = context.number(1);
  if (depth) context.require(*depth >= 0, "a depth of 0 or more");
  shape.insert(shape.begin() + static_cast<int64_t>(axis),
               depth ? Dim(static_cast<int64_t>(*depth)) : unknown_dim(context.node().name, axis));
  context.output(widened(context.dtype(2)), std::move(shape));
}

}  // namespace

const OpDescriptor& one_hot_op() {
  static const OpDescriptor op{.name = "one_hot",
                               .required_inputs = 3,
                               .inputs = {"indices", "depth", "values"},
                               .attributes = {"axis"},
                               .infer = infer_one_hot,
                               .reads_data = true};
  return op;
}

}  // namespace bertie
