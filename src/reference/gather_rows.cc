#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_gather_rows(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& rows = context.inputs[1];
    const int64_t extent = x.shape[1];
    for (int64_t row = 0; row < rows.shape[0]; ++row) {
      for (int64_t i = 0; i < extent; ++i) {
        context.outputs[0].as<float>()[row * extent + i] = static_cast<float>(number(x, integer(rows, row) * extent + i));
      }
    }
  });
}

}  // namespace bertie::reference
