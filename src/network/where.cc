#include <algorithm>

#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

// Elements chosen by known truths: exporters replace the -1 of an Expand's shape this way.
std::optional<SymbolicShape> chosen_elements(const OpContext& context, const SymbolicShape& shape) {
  if (shape.size() > 1) return std::nullopt;
  const auto truths = context.integers(0);
  const auto a = context.elements(1);
  const auto b = context.elements(2);
  if (!truths || !a || !b) return std::nullopt;
  SymbolicShape elements;
  const size_t count = std::max({truths->size(), a->size(), b->size()});
  for (size_t i = 0; i < count; ++i) {
    const SymbolicShape& chosen = (*truths)[truths->size() == 1 ? 0 : i] != 0 ? *a : *b;
    elements.push_back(chosen[chosen.size() == 1 ? 0 : i]);
  }
  return elements;
}

void infer_where(OpContext& context) {
  context.require(context.dtype(0) == DType::boolean, "a bool condition");
  context.require(context.dtype(1) == context.dtype(2) || (is_float(context.dtype(1)) && is_float(context.dtype(2))),
                  "a and b of one dtype");
  const auto values = broadcast(context.shape(1), context.shape(2));
  const auto shape = values ? broadcast(context.shape(0), *values) : std::nullopt;
  if (!shape) context.reject("shapes that broadcast");
  context.output(widened(context.dtype(1)), *shape, chosen_elements(context, *shape));
}

}  // namespace

const OpDescriptor& where_op() {
  static const OpDescriptor op{"where", 3, {"condition", "a", "b"}, {}, infer_where};
  return op;
}

ValueId Network::add_where(ValueId condition, ValueId a, ValueId b, std::string name) {
  return add_node("where", {condition, a, b}, {}, std::move(name))[0];
}

}  // namespace bertie
