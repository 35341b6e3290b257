// x as it comes back from eight bits. With scale and zero_point (constants of one element): what quantize_linear and dequantize_linear make
// of it. Without them each row by its own range: what quantize_rows makes of it, times the row's scale (src/quant/int8.h).
#include "network/op.h"

namespace bertie {

const OpDescriptor& fake_quantize_op() {
  static const OpDescriptor op{"fake_quantize", 1, {"x", "scale", "zero_point"}, {}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.last_dim(0);
                                 context.require(context.has(1) == context.has(2), "scale and zero_point, or neither");
                                 if (context.has(1)) {
                                   context.require_float(1);
                                   const DType to = context.dtype(2);
                                   context.require(to == DType::i8 || to == DType::u8, "a zero_point of i8 or u8");
                                   for (const size_t input : {1, 2})
                                     context.require(context.shape(input).empty(), "one scale and one zero_point");
                                 }
                                 context.output(DType::f32, context.shape(0));
                               }};
  return op;
}

}  // namespace bertie
