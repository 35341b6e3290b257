#include "network/op.h"

namespace bertie {

const OpDescriptor& unary_op() {
  static const OpDescriptor op{"unary", 1, {"x"}, {"function"}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.require_one_of("function", context.node().text("function"),
                                                        {"relu", "silu", "tanh", "sigmoid", "erf", "exp", "log", "sqrt",
                                                         "reciprocal", "neg", "abs"});
                                 context.output(DType::f32, context.shape(0));
                               }};
  return op;
}

ValueId Network::add_unary(std::string function, ValueId x, std::string name) {
  return add_node("unary", {x}, {{"function", std::move(function)}}, std::move(name))[0];
}

}  // namespace bertie
