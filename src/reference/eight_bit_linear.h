// What int8_linear and fp8_linear have in common: rows of products, and what becomes of their sums.
#pragma once

#include <type_traits>

#include "network/eight_bit_linear.h"
#include "reference/row_output.h"

namespace bertie::reference {

// fma(x weight^T, scale * weight_scale, bias; nullptr: 0) of a row of each, in the file of the op.
float int8_product(const int8_t* x, const int8_t* weight, int64_t depth, float scale, float weight_scale, const float* bias);
// The sum in double: nearly exact, where other backends' depend on their order.
float fp8_product(const uint8_t* x, const uint8_t* weight, int64_t depth, float scale, float weight_scale, const float* bias);

// result(n, sum) for each column of row `row`, without activation and residual. Inputs are ScaledLinearInput, T as x and weight lie.
template <typename T, typename Result>
void eight_bit_linear_row(const KernelContext& context, int64_t row, Result result) {
  const TensorView x = context.inputs[kLinearX], x_scale = context.inputs[kLinearXScale], weight = context.inputs[kLinearWeight],
                   weight_scale = context.inputs[kLinearWeightScale];
  const TensorView bias = input(context, kLinearBias);
  const int64_t columns = weight.shape[0], depth = weight.shape[1];
  const float scale = static_cast<float>(number(x_scale, x_scale.shape.rank() == 0 ? 0 : row));
  for (int64_t n = 0; n < columns; ++n) {
    const float added = bias.data ? static_cast<float>(number(bias, n)) : 0.0f, own = static_cast<float>(number(weight_scale, n));
    const float* const own_bias = bias.data ? &added : nullptr;
    if constexpr (std::is_same_v<T, int8_t>)
      result(n, int8_product(x.as<T>() + row * depth, weight.as<T>() + n * depth, depth, scale, own, own_bias));
    else
      result(n, fp8_product(x.as<T>() + row * depth, weight.as<T>() + n * depth, depth, scale, own, own_bias));
  }
}

template <typename T>
PrepareResult prepare_eight_bit_linear(const KernelRequest& request) {
  const RowOutput output(request);
  const auto run = [output, activation = scalar_function(request.node.text("activation", "none"))](const KernelContext& context) {
    const TensorView residual = input(context, kLinearResidual);
    const int64_t columns = context.inputs[kLinearWeight].shape[0];
    context.pool.parallel_for(row_count(context.inputs[kLinearX].shape), [&](int64_t row, int worker) {
      output.write(context, row, context.workspace.data() + static_cast<size_t>(worker) * output.bytes_per_thread(),
                   [&](float* out) {
                     eight_bit_linear_row<T>(context, row, [&](int64_t n, float sum) {
                       out[n] = static_cast<float>(activation(sum));
                       if (residual.data) out[n] += static_cast<float>(number(residual, row * columns + n));
                     });
                   });
    });
  };
  return take(run, output.bytes_per_thread());
}

}  // namespace bertie::reference
