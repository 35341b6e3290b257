#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_gather_nd(const KernelRequest& request) {
  return take([batch_dims = static_cast<int>(request.node.integer("batch_dims"))](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& indices = context.inputs[1];
    const int length = static_cast<int>(indices.shape.back());
    const Strides strides = row_major_strides(x.shape);
    int64_t batches = 1;
    for (int axis = 0; axis < batch_dims; ++axis) batches *= x.shape[axis];
    int64_t block = 1;
    for (int axis = batch_dims + length; axis < x.shape.rank(); ++axis) block *= x.shape[axis];
    const int64_t count = length == 0 ? 0 : indices.shape.elements() / length;
    with_copy(x, context.outputs[0], [&](auto copy) {
      for (int64_t i = 0; i < count; ++i) {
        int64_t source = i / (count / batches) * (x.shape.elements() / batches);
        for (int k = 0; k < length; ++k) {
          const int64_t index = index_within(integer(indices, i * length + k), x.shape[batch_dims + k], "gather_nd");
          source += index * strides[static_cast<size_t>(batch_dims + k)];
        }
        for (int64_t k = 0; k < block; ++k) copy(i * block + k, source + k);
      }
    });
  });
}

}  // namespace bertie::reference
