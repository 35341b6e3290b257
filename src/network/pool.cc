#include "network/op.h"

namespace bertie {

const OpDescriptor& pool_op() {
  static const OpDescriptor op{
      "pool", 1, {"x", "mask"}, {"mode"}, [](OpContext& context) {
        context.require_float(0);
        context.require_one_of("mode", context.node().text("mode"), {"mean", "cls", "max", "mean_sqrt_length"});
        const SymbolicShape& x = context.shape(0);
        context.require(x.size() == 2 || x.size() == 3, "x [batch, sequence, E] or packed [tokens, E]");
        if (context.has(1)) {
          context.require(x.size() == 3 && context.shape(1) == SymbolicShape{x[0], x[1]},
                          "mask [batch, sequence] beside x [batch, sequence, E]");
        }
        context.output(DType::f32, {x.size() == 3 ? x[0] : Dim("batch"), x.back()});
      }};
  return op;
}

ValueId Network::add_pool(ValueId x, ValueId mask, std::string mode, std::string name) {
  return add_node("pool", {x, mask}, {{"mode", std::move(mode)}}, std::move(name))[0];
}

}  // namespace bertie
