#include "network/linear_shape.h"

namespace bertie {

const OpDescriptor& linear_op() {
  static const OpDescriptor op{"linear", 2, {"x", "weight", "bias"}, {"activation", "precision", "rows"}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.require_float(1);
                                 SymbolicShape shape = linear_shape(context, 0, 1, 2);
                                 context.require_one_of("activation", context.node().text("activation", "none"),
                                                        {"none", "gelu", "gelu_tanh", "relu", "silu", "tanh"});
                                 context.require_one_of("precision", context.node().text("precision", "fp32"),
                                                        {"fp32", "tf32", "fp16", "bf16", "int8", "fp8"});
                                 context.require_one_of("rows", context.node().text("rows", "f32"), {"f32", "bf16"});
                                 context.output(DType::f32, std::move(shape));
                               }};
  return op;
}

ValueId Network::add_linear(ValueId x, ValueId weight, ValueId bias, std::string name) {
  return add_node("linear", {x, weight, bias}, {}, std::move(name))[0];
}

}  // namespace bertie
