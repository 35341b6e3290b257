#include "reference/ops.h"
#include "reference/scatter.h"

namespace bertie::reference {

PrepareResult prepare_scatter_elements(const KernelRequest& request) {
  const Reduction reduction = reduction_named(request.node.text("reduction", "none"));
  return take([axis = request.node.integer("axis"), reduction](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& indices = context.inputs[1];
    copy_elements(x, context.outputs[0]);
    const int at = axis_of(axis, x.shape.rank());
    Strides others = row_major_strides(x.shape);
    const int64_t stride = others[static_cast<size_t>(at)];
    others[static_cast<size_t>(at)] = 0;
    with_scatter(reduction, context.inputs[2], context.outputs[0], [&](auto write) {
      walk(indices.shape, others, [&](int64_t i, int64_t to) {
        write(to + stride * index_within(integer(indices, i), x.shape[at], "scatter_elements"), i);
      });
    });
  });
}

}  // namespace bertie::reference
