#include "quant/int8.h"
#include "reference/ops.h"
#include "reference/row_output.h"

namespace bertie::reference {

PrepareResult prepare_int8_linear(const KernelRequest& request) {
  const RowOutput output(request);
  const auto run = [output, activation = scalar_function(request.node.text("activation", "none"))](const KernelContext& context) {
    const TensorView x = context.inputs[0], x_scale = context.inputs[1], weight = context.inputs[2],
                     weight_scale = context.inputs[3];
    const TensorView bias = input(context, 4), residual = input(context, 5);
    const int64_t columns = weight.shape[0], depth = weight.shape[1];
    const bool one_scale = x_scale.shape.rank() == 0;
    context.pool.parallel_for(row_count(x.shape), [&](int64_t row, int worker) {
      const int8_t* values = x.as<int8_t>() + row * depth;
      const float scale = static_cast<float>(number(x_scale, one_scale ? 0 : row));
      output.write(context, row, context.workspace.data() + static_cast<size_t>(worker) * output.bytes_per_thread(),
                   [&](float* out) {
                     for (int64_t n = 0; n < columns; ++n) {
                       const int8_t* w = weight.as<int8_t>() + n * depth;
                       int32_t sum = 0;
                       for (int64_t k = 0; k < depth; ++k) sum += values[k] * w[k];
                       const float added = bias.data ? static_cast<float>(number(bias, n)) : 0.0f;
                       const float product =
                           int8_result(sum, scale, static_cast<float>(number(weight_scale, n)), bias.data ? &added : nullptr);
                       out[n] = static_cast<float>(activation(product));
                       if (residual.data) out[n] += static_cast<float>(number(residual, row * columns + n));
                     }
                   });
    });
  };
  return take(run, output.bytes_per_thread());
}

}  // namespace bertie::reference
