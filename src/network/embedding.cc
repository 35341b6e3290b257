#include "network/op.h"

namespace bertie {

const OpDescriptor& embedding_op() {
  static const OpDescriptor op{"embedding", 2, {"table", "ids"}, {}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.require_rank(0, 2);
                                 context.require_index(1);
                                 SymbolicShape shape = context.shape(1);
                                 shape.push_back(context.shape(0)[1]);
                                 context.output(DType::f32, std::move(shape));
                               }};
  return op;
}

ValueId Network::add_embedding(ValueId table, ValueId ids, std::string name) {
  return add_node("embedding", {table, ids}, {}, std::move(name))[0];
}

}  // namespace bertie
