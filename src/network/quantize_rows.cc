// x [..., K] as eight-bit integers [..., K] and a scale for each row [...] (src/quant/int8.h).
#include "network/op.h"

namespace bertie {

const OpDescriptor& quantize_rows_op() {
  static const OpDescriptor op{"quantize_rows", 1, {"x"}, {}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.last_dim(0);
                                 const SymbolicShape& shape = context.shape(0);
                                 context.output(DType::i8, shape);
                                 context.output(DType::f32, SymbolicShape(shape.begin(), shape.end() - 1));
                               }};
  return op;
}

}  // namespace bertie
