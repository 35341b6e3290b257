#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_where(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const MutableTensorView& out = context.outputs[0];
    const TensorView& condition = context.inputs[0];
    for (const size_t chosen : {1, 2}) {
      const TensorView& x = context.inputs[chosen];
      const std::array strides = {broadcast_strides(condition.shape, out.shape), broadcast_strides(x.shape, out.shape)};
      with_copy(x, out, [&](auto copy) {
        walk(out.shape, strides, [&](int64_t i, const std::array<int64_t, 2>& at) {
          if ((condition.as<uint8_t>()[at[0]] != 0) == (chosen == 1)) copy(i, at[1]);
        });
      });
    }
  });
}

}  // namespace bertie::reference
