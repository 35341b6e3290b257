#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_embedding(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& table = context.inputs[0];
    const TensorView& ids = context.inputs[1];
    const int64_t extent = table.shape[1];
    for (int64_t row = 0; row < ids.shape.elements(); ++row) {
      for (int64_t i = 0; i < extent; ++i) {
        context.outputs[0].as<float>()[row * extent + i] = static_cast<float>(number(table, integer(ids, row) * extent + i));
      }
    }
  });
}

}  // namespace bertie::reference
