#include "reference/linear.h"

#include "reference/ops.h"

namespace bertie::reference {
namespace {

template <bool in_bf16>
PrepareResult prepare(const KernelRequest& request) {
  return take([activation = scalar_function(request.node.text("activation", "none"))](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& weight = context.inputs[1];
    const TensorView bias = input(context, 2);
    context.pool.parallel_for(row_count(x.shape), [&](int64_t row, int) {
      float* out = context.outputs[0].as<float>() + row * weight.shape[0];
      linear_row<in_bf16>(x, weight, bias, row, [&](int64_t n, double sum) { out[n] = static_cast<float>(activation(sum)); });
    });
  });
}

}  // namespace

PrepareResult prepare_linear(const KernelRequest& request) {
  return request.node.text("precision", "fp32") == "bf16" ? prepare<true>(request) : prepare<false>(request);
}

}  // namespace bertie::reference
