#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_tile(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const Shape& result = context.outputs[0].shape;
    with_copy(x, context.outputs[0], [&](auto copy) {
      for (int64_t i = 0; i < result.elements(); ++i) {
        int64_t source = 0;
        int64_t stride = 1;
        int64_t place = i;
        for (int axis = result.rank() - 1; axis >= 0; --axis) {
          source += place % result[axis] % x.shape[axis] * stride;
          stride *= x.shape[axis];
          place /= result[axis];
        }
        copy(i, source);
      }
    });
  });
}

}  // namespace bertie::reference
