// The place of the largest or smallest element along an axis, as i64; of equal ones the first, or the last.
#include "network/op.h"

namespace bertie {
namespace {

void infer_arg_reduce(OpContext& context) {
  context.require_one_of("function", context.node().text("function"), {"max", "min"});
  SymbolicShape shape = context.shape(0);
  const size_t axis = context.axis(context.node().integer("axis"), shape.size());
  context.require(!(shape[axis] == Dim(0)), "an axis that is not empty");
  if (context.node().integer("keep_dims", 1) != 0) {
    shape[axis] = Dim(1);
  } else {
    shape.erase(shape.begin() + static_cast<int64_t>(axis));
  }
  context.output(DType::i64, std::move(shape));
}

}  // namespace

const OpDescriptor& arg_reduce_op() {
  static const OpDescriptor op{"arg_reduce", 1, {"x"}, {"function", "axis", "keep_dims", "select_last"}, infer_arg_reduce};
  return op;
}

}  // namespace bertie
