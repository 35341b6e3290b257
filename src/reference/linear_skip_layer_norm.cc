#include "network/linear_skip_layer_norm.h"

#include "reference/eight_bit_linear.h"
#include "reference/layer_norm.h"
#include "reference/linear.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

// products(context, row, result) calls result(n, sum) for each column, as the linear layer alone has them.
template <typename Products>
PrepareResult prepare(const KernelRequest& request, Products products) {
  const RowOutput output(request);
  const auto run = [output, products, epsilon = request.node.real("epsilon")](const KernelContext& context) {
    const TensorView& residual = context.inputs[kLinearResidual];
    const int64_t columns = context.inputs[kLinearWeight].shape[0];
    context.pool.parallel_for(row_count(context.inputs[kLinearX].shape), [&](int64_t row, int worker) {
      output.write(context, row, context.workspace.data() + static_cast<size_t>(worker) * output.bytes_per_thread(),
                   [&](float* out) {
                     products(context, row, [&](int64_t n, auto sum) { out[n] = static_cast<float>(sum); });
                     layer_norm_row(context.inputs[kLinearGamma], context.inputs[kLinearBeta], epsilon, out,
                                    [&](int64_t n) { return out[n] + number(residual, row * columns + n); });
                   });
    });
  };
  return take(run, output.bytes_per_thread());
}

template <bool in_bf16>
PrepareResult prepare_floats(const KernelRequest& request) {
  return prepare(request, [](const KernelContext& context, int64_t row, auto result) {
    linear_row<in_bf16>(context.inputs[kLinearX], context.inputs[kLinearWeight], context.inputs[kLinearBias], row, result);
  });
}

template <typename T>
PrepareResult prepare_eight_bits(const KernelRequest& request) {
  return prepare(request,
                 [](const KernelContext& context, int64_t row, auto result) { eight_bit_linear_row<T>(context, row, result); });
}

}  // namespace

PrepareResult prepare_linear_skip_layer_norm(const KernelRequest& request) {
  const DType element = request.network.value(request.node.input(kLinearX)).dtype;
  if (element == DType::i8) return prepare_eight_bits<int8_t>(request);
  if (element == DType::u8) return prepare_eight_bits<uint8_t>(request);
  return request.node.text("precision", "fp32") == "bf16" ? prepare_floats<true>(request) : prepare_floats<false>(request);
}

}  // namespace bertie::reference
