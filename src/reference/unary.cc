#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_unary(const KernelRequest& request) {
  if (!gives_f32(request)) return Refusal{"only floats are computed"};
  return take([function = scalar_function(request.node.text("function"))](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    for (int64_t i = 0; i < x.shape.elements(); ++i)
      context.outputs[0].as<float>()[i] = static_cast<float>(function(number(x, i)));
  });
}

}  // namespace bertie::reference
