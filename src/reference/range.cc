#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_range(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& start = context.inputs[0];
    const TensorView& step = context.inputs[2];
    const MutableTensorView& out = context.outputs[0];
    for (int64_t i = 0; i < out.shape[0]; ++i) {
      if (is_float(start.dtype)) {
        out.as<float>()[i] = static_cast<float>(number(start, 0) + static_cast<double>(i) * number(step, 0));
        continue;
      }
      with_integer_type(out.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        out.as<T>()[i] = static_cast<T>(integer(start, 0) + i * integer(step, 0));
      });
    }
  });
}

}  // namespace bertie::reference
