#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_constant_of_shape(const KernelRequest&) {
  return take([](const KernelContext& context) {
    with_copy(context.inputs[1], context.outputs[0], [&](auto copy) {
      for (int64_t i = 0; i < context.outputs[0].shape.elements(); ++i) copy(i, 0);
    });
  });
}

}  // namespace bertie::reference
