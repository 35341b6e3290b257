#include <algorithm>
#include <cstring>

#include "network/op.h"
#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_pack_rows(const KernelRequest&) {
  return take([](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& out = context.outputs[0];
    const PackedBatch& batch = context.batch;
    const int64_t row = out.shape[0] == 0 ? 0 : out.shape.elements() / out.shape[0];
    for (int64_t b = 0; b < batch.sequences; ++b) {
      for (int64_t token = batch.cumulative_lengths[b]; token < batch.cumulative_lengths[b + 1]; ++token) {
        const int64_t column = batch.columns ? batch.columns[token] : token - batch.cumulative_lengths[b];
        const int64_t source = (x.shape[0] == 1 ? 0 : b) * x.shape[1] + (x.shape[1] == 1 ? 0 : column);
        for (int64_t i = 0; i < row; ++i) {
          if (is_float(x.dtype)) {
            out.as<float>()[token * row + i] = static_cast<float>(number(x, source * row + i));
          } else {
            const size_t size = dtype_size(x.dtype);
            std::memcpy(out.as<std::byte>() + static_cast<size_t>(token * row + i) * size,
                        x.as<std::byte>() + static_cast<size_t>(source * row + i) * size, size);
          }
        }
      }
    }
  });
}

}  // namespace bertie::reference
