#include <algorithm>

#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_shape(const KernelRequest& request) {
  return take([start = request.node.integer("start")](const KernelContext& context) {
    const Shape& shape = context.inputs[0].shape;
    const MutableTensorView& out = context.outputs[0];
    const int64_t first = std::clamp<int64_t>(start < 0 ? start + shape.rank() : start, 0, shape.rank());
    for (int64_t i = 0; i < out.shape[0]; ++i) out.as<int64_t>()[i] = shape[static_cast<int>(first + i)];
  });
}

}  // namespace bertie::reference
