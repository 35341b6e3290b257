#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_split(const KernelRequest& request) {
  return take([axis = request.node.integer("axis")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const int at = axis_of(axis, x.shape.rank());
    const AxisView whole = around_axis(x.shape, at);
    int64_t begin = 0;  // of the part, along the axis
    for (const MutableTensorView& part : context.outputs) {
      const int64_t block = part.shape[at] * whole.inner;
      with_copy(x, part, [&](auto copy) {
        for (int64_t outer = 0; outer < whole.outer; ++outer) {
          const int64_t source = (outer * whole.extent + begin) * whole.inner;
          for (int64_t i = 0; i < block; ++i) copy(outer * block + i, source + i);
        }
      });
      begin += part.shape[at];
    }
  });
}

}  // namespace bertie::reference
