// How many elements x has, an i64 scalar.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {

const OpDescriptor& size_op() {
  static const OpDescriptor op{"size", 1, {"x"}, {}, [](OpContext& context) {
                                 context.output(DType::i64, {}, SymbolicShape{elements_of(context.shape(0))});
                               }};
  return op;
}

}  // namespace bertie
