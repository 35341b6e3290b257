#include "reference/layer_norm.h"

#include "reference/ops.h"
#include "reference/row_output.h"

namespace bertie::reference {

PrepareResult prepare_layer_norm(const KernelRequest& request) {
  const RowOutput output(request);
  const auto run = [output, epsilon = request.node.real("epsilon")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const int64_t extent = x.shape.back();
    for (int64_t row = 0; row < row_count(x.shape); ++row) {
      output.write(context, row, context.workspace.data(), [&](float* out) {
        layer_norm_row(context.inputs[1], context.inputs[2], epsilon, out,
                       [&](int64_t i) { return number(x, row * extent + i); });
      });
    }
  };
  return take(run, output.bytes_per_thread());
}

}  // namespace bertie::reference
