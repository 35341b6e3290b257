#include "network/quantized_output.h"

namespace bertie {

const OpDescriptor& layer_norm_op() {
  static const OpDescriptor op{"layer_norm",
                               3,
                               {"x", "gamma", "beta", "quantization"},
                               {"epsilon", "quantize_output", "quantize_element"},
                               [](OpContext& context) {
                                 context.require_float(0);
                                 const Dim& extent = context.last_dim(0);
                                 context.require_vector(1, extent);
                                 context.require_vector(2, extent);
                                 output_rows(context, context.shape(0));
                               }};
  return op;
}

ValueId Network::add_layer_norm(ValueId x, ValueId gamma, ValueId beta, double epsilon, std::string name) {
  return add_node("layer_norm", {x, gamma, beta}, {{"epsilon", epsilon}}, std::move(name))[0];
}

}  // namespace bertie
