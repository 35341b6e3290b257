// What int8_linear and fp8_linear have in common: rows of products, and what becomes of their sums.
#pragma once

#include "network/eight_bit_linear.h"
#include "reference/row_output.h"

namespace bertie::reference {

// product(x, weight, depth, scale, weight_scale, bias or nullptr) of a row of each, T as they lie.
template <typename T, typename Product>
PrepareResult prepare_eight_bit_linear(const KernelRequest& request, Product product) {
  const RowOutput output(request);
  const auto run = [output, product,
                    activation = scalar_function(request.node.text("activation", "none"))](const KernelContext& context) {
    const TensorView x = context.inputs[kEightBitX], x_scale = context.inputs[kEightBitXScale],
                     weight = context.inputs[kEightBitWeight], weight_scale = context.inputs[kEightBitWeightScale];
    const TensorView bias = input(context, kEightBitBias), residual = input(context, kEightBitResidual);
    const int64_t columns = weight.shape[0], depth = weight.shape[1];
    const bool one_scale = x_scale.shape.rank() == 0;
    context.pool.parallel_for(row_count(x.shape), [&](int64_t row, int worker) {
      const float scale = static_cast<float>(number(x_scale, one_scale ? 0 : row));
      output.write(context, row, context.workspace.data() + static_cast<size_t>(worker) * output.bytes_per_thread(),
                   [&](float* out) {
                     for (int64_t n = 0; n < columns; ++n) {
                       const float added = bias.data ? static_cast<float>(number(bias, n)) : 0.0f;
                       const float sum = product(x.as<T>() + row * depth, weight.as<T>() + n * depth, depth, scale,
                                                 static_cast<float>(number(weight_scale, n)), bias.data ? &added : nullptr);
                       out[n] = static_cast<float>(activation(sum));
                       if (residual.data) out[n] += static_cast<float>(number(residual, row * columns + n));
                     }
                   });
    });
  };
  return take(run, output.bytes_per_thread());
}

}  // namespace bertie::reference
