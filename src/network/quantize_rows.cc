// x [..., K] in eight bits [..., K] and a scale for each row [...]; with `quantization` f32 [2, K] (inverse scales and offsets of the
// columns) in eight bits alone (src/quant/int8.h, src/quant/fp8.h).
#include "network/quantized_output.h"

namespace bertie {

const OpDescriptor& quantize_rows_op() {
  static const OpDescriptor op{"quantize_rows", 1, {"x", "quantization"}, {"quantize_element"}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.last_dim(0);
                                 const SymbolicShape& shape = context.shape(0);
                                 const bool fixed = context.has(1);
                                 if (fixed) require_quantization(context, shape);
                                 context.output(eight_bit_type(context), shape);
                                 if (!fixed) context.output(DType::f32, SymbolicShape(shape.begin(), shape.end() - 1));
                               }};
  return op;
}

}  // namespace bertie
