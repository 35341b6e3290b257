#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

// The number that a product of this precision takes for `value`.
template <bool in_bf16, typename T>
double factor(T value) {
  const auto wide = widen(value);
  return in_bf16 ? bf16_to_float(float_to_bf16(static_cast<float>(wide))) : static_cast<double>(wide);
}

// Eight partial sums, so that the compiler may use vectors: lane i has the products k = i (mod 8).
template <bool in_bf16, typename X, typename W>
double dot(const X* x, const W* w, int64_t count) {
  constexpr int64_t kLanes = 8;
  double sums[kLanes] = {};
  int64_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += factor<in_bf16>(x[k + lane]) * factor<in_bf16>(w[k + lane]);
  }
  for (; k < count; ++k) sums[k % kLanes] += factor<in_bf16>(x[k]) * factor<in_bf16>(w[k]);
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

template <bool in_bf16>
PrepareResult prepare(const KernelRequest& request) {
  return take([activation = scalar_function(request.node.text("activation", "none"))](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView& weight = context.inputs[1];
    const TensorView bias = context.inputs.size() > 2 ? context.inputs[2] : TensorView{};
    const int64_t columns = weight.shape[0];
    const int64_t depth = weight.shape[1];
    context.pool.parallel_for(row_count(x.shape), [&](int64_t row, int) {
      float* out = context.outputs[0].as<float>() + row * columns;
      with_floats(x, [&](auto* xs) {
        with_floats(weight, [&](auto* ws) {
          for (int64_t n = 0; n < columns; ++n) {
            const double sum = dot<in_bf16>(xs + row * depth, ws + n * depth, depth) + (bias.data ? number(bias, n) : 0);
            out[n] = static_cast<float>(activation(sum));
          }
        });
      });
    });
  });
}

}  // namespace

PrepareResult prepare_linear(const KernelRequest& request) {
  return request.node.text("precision", "fp32") == "bf16" ? prepare<true>(request) : prepare<false>(request);
}

}  // namespace bertie::reference
