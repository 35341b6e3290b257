#include "network/op.h"

namespace bertie {

const OpDescriptor& gelu_op() {
  static const OpDescriptor op{
      "gelu", 1, {"x"}, {"approximate"}, [](OpContext& context) {
        context.require_float(0);
        context.require_one_of("approximate", context.node().text("approximate", "none"), {"none", "tanh"});
        context.output(DType::f32, context.shape(0));
      }};
  return op;
}

ValueId Network::add_gelu(ValueId x, std::string approximate, std::string name) {
  return add_node("gelu", {x}, {{"approximate", std::move(approximate)}}, std::move(name))[0];
}

}  // namespace bertie
