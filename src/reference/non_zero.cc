#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_non_zero(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const int64_t count = context.outputs[0].shape[1];
    int64_t found = 0;
    for (int64_t i = 0; i < x.shape.elements(); ++i) {
      if (number(x, i) == 0) continue;
      int64_t rest = i;
      for (int axis = x.shape.rank() - 1; axis >= 0; --axis) {
        context.outputs[0].as<int64_t>()[axis * count + found] = rest % x.shape[axis];
        rest /= x.shape[axis];
      }
      ++found;
    }
  });
}

}  // namespace bertie::reference
