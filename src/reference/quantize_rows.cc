
#include "reference/ops.h"
#include "reference/row_output.h"

namespace bertie::reference {

PrepareResult prepare_quantize_rows(const KernelRequest& request) {
  if (request.network.value(request.node.inputs[0]).dtype != DType::f32) return Refusal{"x is not f32"};
  return take([](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const int64_t extent = x.shape.back();
    for (int64_t row = 0; row < row_count(x.shape); ++row) {
      const std::span<const float> floats(x.as<float>() + row * extent, static_cast<size_t>(extent));
      if (context.inputs.size() > 1) {
        quantize_fixed(floats, context.inputs[1], context.outputs[0], row);
      } else {
        context.outputs[1].as<float>()[row] = quantize_row(floats, context.outputs[0], row);
      }
    }
  });
}

}  // namespace bertie::reference
