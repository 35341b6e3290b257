#include "network/op.h"

namespace bertie {

const OpDescriptor& softmax_op() {
  static const OpDescriptor op{"softmax", 1, {"x"}, {"axis", "logarithm"}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.axis(context.node().integer("axis", -1), context.shape(0).size());
                                 context.output(DType::f32, context.shape(0));
                               }};
  return op;
}

ValueId Network::add_softmax(ValueId x, int64_t axis, std::string name) {
  return add_node("softmax", {x}, {{"axis", axis}}, std::move(name))[0];
}

}  // namespace bertie
