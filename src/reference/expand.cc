#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_expand(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& out = context.outputs[0];
    with_copy(x, out, [&](auto copy) {
      walk(out.shape, broadcast_strides(x.shape, out.shape), [&](int64_t i, int64_t from) { copy(i, from); });
    });
  });
}

}  // namespace bertie::reference
