#include "reference/layer_norm.h"
#include "reference/ops.h"
#include "reference/row_output.h"

namespace bertie::reference {

PrepareResult prepare_embedding_layer_norm(const KernelRequest& request) {
  const RowOutput output(request);
  const auto run = [output, epsilon = request.node.real("epsilon")](const KernelContext& context) {
    constexpr size_t kTables = 3;  // inputs: the ids of each, then the tables
    const TensorView& gamma = context.inputs[2 * kTables];
    const TensorView& beta = context.inputs[2 * kTables + 1];
    const int64_t extent = gamma.shape[0];
    for (int64_t row = 0; row < context.inputs[0].shape.elements(); ++row) {
      output.write(context, row, context.workspace.data(), [&](float* out) {
        layer_norm_row(gamma, beta, epsilon, out, [&](int64_t i) {
          double sum = 0;
          for (size_t table = 0; table < kTables; ++table) {
            const TensorView& ids = context.inputs[table];
            if (ids.data) sum += number(context.inputs[kTables + table], integer(ids, row) * extent + i);
          }
          return sum;
        });
      });
    }
  };
  return take(run, output.bytes_per_thread());
}

}  // namespace bertie::reference
