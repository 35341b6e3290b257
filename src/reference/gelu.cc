#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_gelu(const KernelRequest& request) {
  const bool exact = request.node.text("approximate", "none") == "none";
  return take([function = exact ? gelu : gelu_tanh](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    for (int64_t i = 0; i < x.shape.elements(); ++i)
      context.outputs[0].as<float>()[i] = static_cast<float>(function(number(x, i)));
  });
}

}  // namespace bertie::reference
