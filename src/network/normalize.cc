#include "network/op.h"

namespace bertie {

const OpDescriptor& normalize_op() {
  static const OpDescriptor op{"normalize", 1, {"x"}, {"epsilon"}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.last_dim(0);
                                 context.output(DType::f32, context.shape(0));
                               }};
  return op;
}

ValueId Network::add_normalize(ValueId x, double epsilon, std::string name) {
  return add_node("normalize", {x}, {{"epsilon", epsilon}}, std::move(name))[0];
}

}  // namespace bertie
