// out[i][j] = x[indices[i][j]][j] for axis 0, and so on: the index replaces the place along the axis.
#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_gather_elements(const KernelRequest& request) {
  return take([axis = request.node.integer("axis")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& indices = context.inputs[1];
    const int at = axis_of(axis, x.shape.rank());
    const int64_t stride = row_major_strides(x.shape)[static_cast<size_t>(at)];
    Strides others = row_major_strides(x.shape);
    others[static_cast<size_t>(at)] = 0;
    with_copy(x, context.outputs[0], [&](auto copy) {
      walk(indices.shape, others, [&](int64_t i, int64_t from) {
        copy(i, from + stride * index_within(integer(indices, i), x.shape[at], "gather_elements"));
      });
    });
  });
}

}  // namespace bertie::reference
