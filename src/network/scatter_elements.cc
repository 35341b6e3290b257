// ONNX ScatterElements: x with updates written where the indices say along an axis, or added, multiplied, ... to what is there.
#include "network/op.h"

namespace bertie {
namespace {

void infer_scatter_elements(OpContext& context) {
  context.require_index(1);
  const SymbolicShape& x = context.shape(0);
  context.axis(context.node().integer("axis"), x.size());
  context.require_rank(1, x.size());
  context.require(context.shape(1) == context.shape(2), "indices and updates of one shape");
  context.require(widened(context.dtype(0)) == widened(context.dtype(2)), "x and updates of one dtype");
  context.require_one_of("reduction", context.node().text("reduction", "none"), {"none", "add", "mul", "min", "max"});
  context.output(widened(context.dtype(0)), x);
}

}  // namespace

const OpDescriptor& scatter_elements_op() {
  static const OpDescriptor op{"scatter_elements", 3, {"x", "indices", "updates"}, {"axis", "reduction"}, infer_scatter_elements};
  return op;
}

}  // namespace bertie
