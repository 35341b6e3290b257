// ONNX Gather: slices of x along one axis; a negative index counts from the end.
#include "network/op.h"

namespace bertie {
namespace {

void infer_gather(OpContext& context) {
  context.require_index(1);
  const SymbolicShape& x = context.shape(0);
  const size_t axis = context.axis(context.node().integer("axis"), x.size());
  SymbolicShape shape(x.begin(), x.begin() + static_cast<int64_t>(axis));
  shape.insert(shape.end(), context.shape(1).begin(), context.shape(1).end());
  shape.insert(shape.end(), x.begin() + static_cast<int64_t>(axis) + 1, x.end());
  std::optional<SymbolicShape> elements;
  const auto from = context.elements(0);
  const auto indices = context.integers(1);
  if (from && indices && x.size() == 1) {
    elements.emplace();
    const int64_t count = static_cast<int64_t>(from->size());
    for (int64_t index : *indices) {
      context.require(index >= -count && index < count, "indices within x");
      elements->push_back((*from)[static_cast<size_t>(index < 0 ? index + count : index)]);
    }
  }
  context.output(is_float(context.dtype(0)) ? DType::f32 : context.dtype(0), std::move(shape), std::move(elements));
}

}  // namespace

const OpDescriptor& gather_op() {
  static const OpDescriptor op{"gather", 2, {"x", "indices"}, {"axis"}, infer_gather};
  return op;
}

ValueId Network::add_gather(ValueId x, ValueId indices, int64_t axis, std::string name) {
  return add_node("gather", {x, indices}, {{"axis", axis}}, std::move(name))[0];
}

}  // namespace bertie
