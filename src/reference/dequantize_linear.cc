// (x - zero_point) * scale, the product in f32.
#include "reference/elements.h"
#include "reference/ops.h"
#include "reference/scales.h"

namespace bertie::reference {

PrepareResult prepare_dequantize_linear(const KernelRequest& request) {
  const int64_t axis = request.node.integer("axis", 1);
  const int64_t block = request.node.integer("block_size");
  return take([axis, block](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& scale = context.inputs[1];
    const TensorView zero_point = input(context, 2);
    const ScalePlaces places(x.shape, scale.shape, axis, block);
    for (int64_t i = 0; i < x.shape.elements(); ++i) {
      const int64_t at = places(i);
      const int64_t level = integer(x, i) - (zero_point.data ? integer(zero_point, at) : 0);
      context.outputs[0].as<float>()[i] = static_cast<float>(level) * static_cast<float>(number(scale, at));
    }
  });
}

}  // namespace bertie::reference
