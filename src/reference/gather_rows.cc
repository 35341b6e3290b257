#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_gather_rows(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& rows = context.inputs[1];
    const int64_t extent = x.shape[1];
    for (int64_t row = 0; row < rows.shape[0]; ++row) {
      const int64_t source = integer(rows, row);
      for (int64_t i = 0; i < extent; ++i) {
        // The first row of an empty last sequence is row T: there is none.
        context.outputs[0].as<float>()[row * extent + i] =
            source < x.shape[0] ? static_cast<float>(number(x, source * extent + i)) : 0;
      }
    }
  });
}

}  // namespace bertie::reference
