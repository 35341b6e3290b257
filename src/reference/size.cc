#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_size(const KernelRequest&) {
  return take([](const KernelContext& context) { context.outputs[0].as<int64_t>()[0] = context.inputs[0].shape.elements(); });
}

}  // namespace bertie::reference
