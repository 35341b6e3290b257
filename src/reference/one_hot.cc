#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_one_hot(const KernelRequest& request) {
  return take([axis = request.node.integer("axis", -1)](const KernelContext& context) {
    const TensorView& indices = context.inputs[0];
    const MutableTensorView& out = context.outputs[0];
    const AxisView view = around_axis(out.shape, axis_of(axis, out.shape.rank()));
    with_copy(context.inputs[2], out, [&](auto copy) {
      for (int64_t i = 0; i < out.shape.elements(); ++i) {
        const int64_t place = i / view.inner % view.extent;
        const int64_t source = i / (view.inner * view.extent) * view.inner + i % view.inner;
        const double index = number(indices, source);
        copy(i, (index < 0 ? index + static_cast<double>(view.extent) : index) == static_cast<double>(place) ? 1 : 0);
      }
    });
  });
}

}  // namespace bertie::reference
