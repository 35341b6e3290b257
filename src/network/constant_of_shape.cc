// A tensor of this shape filled with `value`, a tensor of one element.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_constant_of_shape(OpContext& context) {
  context.require_index(0);
  context.require_rank(0, 1);
  context.require(context.shape(1).size() <= 1, "a value of one element");
  SymbolicShape shape;
  if (const auto wanted = context.elements(0)) {
    shape = *wanted;
  } else {
    const Dim& rank = context.shape(0)[0];
    context.require(rank.is_fixed(), "a shape of known length");
    for (int64_t i = 0; i < rank.size; ++i) shape.push_back(unknown_dim(context.node().name, static_cast<size_t>(i)));
  }
  std::optional<SymbolicShape> elements;
  const auto value = context.elements(1);
  if (value && value->size() == 1 && shape.size() == 1 && shape[0].is_fixed() && shape[0].size <= 64) {
    elements.emplace(static_cast<size_t>(shape[0].size), (*value)[0]);
  }
  context.output(context.dtype(1), std::move(shape), std::move(elements));
}

}  // namespace

const OpDescriptor& constant_of_shape_op() {
  static const OpDescriptor op{"constant_of_shape", 2, {"shape", "value"}, {}, infer_constant_of_shape};
  return op;
}

}  // namespace bertie
