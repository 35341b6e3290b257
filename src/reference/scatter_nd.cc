#include "reference/ops.h"
#include "reference/scatter.h"

namespace bertie::reference {

PrepareResult prepare_scatter_nd(const KernelRequest& request) {
  return take([reduction = reduction_named(request.node.text("reduction", "none"))](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& indices = context.inputs[1];
    copy_elements(x, context.outputs[0]);
    const int length = static_cast<int>(indices.shape.back());
    const Strides strides = row_major_strides(x.shape);
    int64_t block = 1;
    for (int axis = length; axis < x.shape.rank(); ++axis) block *= x.shape[axis];
    int64_t count = 1;
    for (int axis = 0; axis + 1 < indices.shape.rank(); ++axis) count *= indices.shape[axis];
    with_scatter(reduction, context.inputs[2], context.outputs[0], [&](auto write) {
      for (int64_t i = 0; i < count; ++i) {
        int64_t target = 0;
        for (int k = 0; k < length; ++k) {
          target += strides[static_cast<size_t>(k)] * index_within(integer(indices, i * length + k), x.shape[k], "scatter_nd");
        }
        for (int64_t k = 0; k < block; ++k) write(target + k, i * block + k);
      }
    });
  });
}

}  // namespace bertie::reference
