#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_concat(const KernelRequest& request) {
  return take([axis = request.node.integer("axis")](const KernelContext& context) {
    const MutableTensorView& out = context.outputs[0];
    const int at = axis_of(axis, out.shape.rank());
    const AxisView whole = around_axis(out.shape, at);
    int64_t begin = 0;  // of the part, along the axis
    for (const TensorView& part : context.inputs) {
      const int64_t block = part.shape[at] * whole.inner;
      with_copy(part, out, [&](auto copy) {
        for (int64_t outer = 0; outer < whole.outer; ++outer) {
          const int64_t target = (outer * whole.extent + begin) * whole.inner;
          for (int64_t i = 0; i < block; ++i) copy(target + i, outer * block + i);
        }
      });
      begin += part.shape[at];
    }
  });
}

}  // namespace bertie::reference
