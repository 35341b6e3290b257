#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_gather(const KernelRequest& request) {
  return take([axis = request.node.integer("axis")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& indices = context.inputs[1];
    const AxisView view = around_axis(x.shape, axis_of(axis, x.shape.rank()));
    const int64_t count = indices.shape.elements();
    with_copy(x, context.outputs[0], [&](auto copy) {
      for (int64_t k = 0; k < count; ++k) {
        const int64_t index = index_within(integer(indices, k), view.extent, "gather");
        for (int64_t outer = 0; outer < view.outer; ++outer) {
          for (int64_t inner = 0; inner < view.inner; ++inner)
            copy((outer * count + k) * view.inner + inner, (outer * view.extent + index) * view.inner + inner);
        }
      }
    });
  });
}

}  // namespace bertie::reference
