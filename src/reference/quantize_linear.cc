// saturate(round half to even(x / scale) + zero_point), the division in f32.
#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/elements.h"
#include "reference/ops.h"
#include "reference/scales.h"

namespace bertie::reference {

PrepareResult prepare_quantize_linear(const KernelRequest& request) {
  const int64_t axis = request.node.integer("axis", 1);
  const int64_t block = request.node.integer("block_size");
  return take([axis, block](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& scale = context.inputs[1];
    const TensorView zero_point = input(context, 2);
    const MutableTensorView& out = context.outputs[0];
    const ScalePlaces places(x.shape, scale.shape, axis, block);
    with_integer_type(out.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      for (int64_t i = 0; i < x.shape.elements(); ++i) {
        const int64_t at = places(i);
        const float quotient = static_cast<float>(number(x, i)) / static_cast<float>(number(scale, at));
        out.as<T>()[i] = quantized<T>(quotient, zero_point.data ? integer(zero_point, at) : 0);
      }
    });
  });
}

}  // namespace bertie::reference
