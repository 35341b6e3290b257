#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer(OpContext& context) {
  context.require(context.dtype(0) == DType::boolean, "a bool condition");
  context.require(context.dtype(1) == context.dtype(2) || (is_float(context.dtype(1)) && is_float(context.dtype(2))),
                  "a and b of one dtype");
  const auto values = broadcast(context.shape(1), context.shape(2));
  const auto shape = values ? broadcast(context.shape(0), *values) : std::nullopt;
  if (!shape) context.reject("shapes that broadcast");
  context.output(is_float(context.dtype(1)) ? DType::f32 : context.dtype(1), *shape);
}

}  // namespace

const OpDescriptor& where_op() {
  static const OpDescriptor op{"where", 3, {"condition", "a", "b"}, {}, infer};
  return op;
}

ValueId Network::add_where(ValueId condition, ValueId a, ValueId b, std::string name) {
  return add_node("where", {condition, a, b}, {}, std::move(name))[0];
}

}  // namespace bertie
