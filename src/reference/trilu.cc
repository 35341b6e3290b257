#include <cstring>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_trilu(const KernelRequest& request) {
  return take([upper = request.node.integer("upper", 1) != 0](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView shift = input(context, 1);
    const int64_t k = shift.data ? integer(shift, 0) : 0;
    const int64_t rows = x.shape[x.shape.rank() - 2];
    const int64_t columns = x.shape.back();
    if (x.bytes() > 0) std::memset(context.outputs[0].data, 0, x.bytes());
    with_copy(x, context.outputs[0], [&](auto copy) {
      for (int64_t i = 0; i < x.shape.elements(); ++i) {
        const int64_t distance = i % columns - i / columns % rows;  // to the right of the diagonal
        if (upper ? distance >= k : distance <= k) copy(i, i);
      }
    });
  });
}

}  // namespace bertie::reference
