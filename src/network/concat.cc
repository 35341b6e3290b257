#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_concat(OpContext& context) {
  SymbolicShape shape = context.shape(0);
  const size_t axis = context.axis(context.node().integer("axis"), shape.size());
  std::optional<SymbolicShape> elements = shape.size() == 1 ? context.elements(0) : std::nullopt;
  for (size_t i = 1; i < context.input_count(); ++i) {
    context.require(context.has(i), "every part");
    const SymbolicShape& part = context.shape(i);
    context.require(part.size() == shape.size(), "parts of one rank");
    context.require(context.dtype(i) == context.dtype(0) || (is_float(context.dtype(i)) && is_float(context.dtype(0))),
                    "parts of one dtype");
    for (size_t k = 0; k < part.size(); ++k) {
      if (k == axis) continue;
      if (part[k].is_fixed() && shape[k].is_fixed())
        context.require(part[k] == shape[k], "parts that differ along the axis alone");
      if (part[k].is_fixed()) shape[k] = part[k];
    }
    shape[axis] = shape[axis] + part[axis];
    const auto more = part.size() == 1 ? context.elements(i) : std::nullopt;
    if (elements && more) {
      elements->insert(elements->end(), more->begin(), more->end());
    } else {
      elements.reset();
    }
  }
  context.output(is_float(context.dtype(0)) ? DType::f32 : context.dtype(0), std::move(shape), std::move(elements));
}

}  // namespace

const OpDescriptor& concat_op() {
  static const OpDescriptor op{"concat", 1, {"parts"}, {"axis"}, infer_concat, true};
  return op;
}

ValueId Network::add_concat(std::vector<ValueId> parts, int64_t axis, std::string name) {
  return add_node("concat", std::move(parts), {{"axis", axis}}, std::move(name))[0];
}

}  // namespace bertie
