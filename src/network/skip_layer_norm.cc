// Fused: layer_norm(elementwise add(x, residual)).
#include "network/quantized_output.h"

namespace bertie {

const OpDescriptor& skip_layer_norm_op() {
  static const OpDescriptor op{"skip_layer_norm",
                               4,
                               {"x", "residual", "gamma", "beta", "quantization"},
                               {"epsilon", "quantize_output", "quantize_element"},
                               [](OpContext& context) {
                                 context.require(context.has(2) && context.has(3), "gamma and beta");
                                 context.require_float(0);
                                 context.require_float(1);
                                 context.require(context.shape(0) == context.shape(1), "x and residual of one shape");
                                 const Dim& extent = context.last_dim(0);
                                 context.require_vector(2, extent);
                                 context.require_vector(3, extent);
                                 output_rows(context, context.shape(0));
                               }};
  return op;
}

}  // namespace bertie
