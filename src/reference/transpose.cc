#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_transpose(const KernelRequest& request) {
  return take([permutation = request.node.integers("permutation")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const Strides own = row_major_strides(x.shape);
    const size_t rank = static_cast<size_t>(x.shape.rank());
    Strides strides{};
    for (size_t axis = 0; axis < rank; ++axis)
      strides[axis] = own[permutation.empty() ? rank - 1 - axis : static_cast<size_t>(permutation[axis])];
    with_copy(x, context.outputs[0], [&](auto copy) {
      walk(context.outputs[0].shape, strides,
           [&](int64_t i, int64_t from) { copy(i, from); });
    });
  });
}

}  // namespace bertie::reference
