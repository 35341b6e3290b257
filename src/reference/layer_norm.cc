#include "reference/layer_norm.h"

#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_layer_norm(const KernelRequest& request) {
  return take([epsilon = request.node.real("epsilon")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const int64_t extent = x.shape.back();
    for (int64_t row = 0; row < row_count(x.shape); ++row) {
      layer_norm_row(context.inputs[1], context.inputs[2], epsilon, context.outputs[0].as<float>() + row * extent,
                     [&](int64_t i) { return number(x, row * extent + i); });
    }
  });
}

}  // namespace bertie::reference
