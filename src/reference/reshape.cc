#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_reshape(const KernelRequest&) {
  return take([](const KernelContext& context) { copy_elements(context.inputs[0], context.outputs[0]); });
}

}  // namespace bertie::reference
