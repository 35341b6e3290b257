// linear: x [..., K] times weight [N, K] transposed, + bias, by cuBLASLt, with an activation as a kernel of its own behind it. Hopper's own
// kernels: hopper_linear.cc.
#include "cuda/kernels/activation.h"
#include "cuda/ops.h"
#include "cuda/products.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

enum Input : size_t { kX, kWeight, kBias };

class Linear final : public Step {
 public:
  Linear(Operands& operands, Activation activation, int algorithm)
      : Step(operands, operands.computed()),
        activation_(activation),
        algorithm_(algorithm),
        launcher_(device().launcher<ActivationParams>("activation")) {
    product_.element = product_.result = static_cast<int32_t>(element_of(operands.computed()));
    product_.tf32 = operands.tf32();
    product_.transposed = 1;
    product_.has_bias = operands.has(kBias);
    product_.batch = 1;
  }

 protected:
  size_t own_workspace_bytes(const BatchLimits&) const override { return kProductWorkspace; }

  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[kX];
    const MutableTensorView& y = context.outputs[0];
    BertieCudaProduct product = product_;
    product.m = row_count(x.shape);
    product.k = x.shape.back();
    product.n = y.shape.back();
    if (product.m == 0) return;
    BertieCudaOperands operands{};
    operands.a = x.data;
    operands.b = context.inputs[kWeight].data;
    if (product.has_bias) operands.bias = context.inputs[kBias].data;
    operands.d = y.data;
    operands.workspace = context.workspace.data();
    operands.workspace_bytes = kProductWorkspace;
    operands.algorithm = algorithm_;
    device().check(device().api().run_product(device().index(), &product, &operands, context.device->stream.handle()),
                   "a matrix product");
    if (activation_ == Activation::none) return;
    ActivationParams params{};
    params.x = y.data;
    params.y = y.data;
    params.x_element = params.y_element = element_of(y.dtype);
    params.function = activation_;
    params.rows = product.m;
    params.width = product.n;
    params.live_rows = y.shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = overflow(context);
    params.step = context.device->step;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  Activation activation_;
  int32_t algorithm_;  // which of cuBLASLt's candidates; its heuristics' first where there are fewer
  BertieCudaProduct product_{};
  Launcher<ActivationParams> launcher_;
};

PrepareResult prepare(const KernelRequest& request, int algorithm) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const Activation activation = activation_of(request.node);
    operands.want(kX, operands.computed(), "x");
    if (!operands.value(kWeight).constant) throw Refused{"the weight is not constant"};
    operands.want(kWeight, operands.computed(), "the weight");
    if (operands.has(kBias)) operands.want(kBias, operands.computed(), "the bias");
    const char* reason = operands.tf32() ? "cuBLASLt, f32 rounded to tf32" : "cuBLASLt, sums in f32";
    return Preparation{std::make_unique<Linear>(operands, activation, algorithm), reason};
  });
}

}  // namespace

PrepareResult prepare_linear(const KernelRequest& request) { return prepare(request, 0); }

template <int kAlgorithm>
PrepareResult prepare_linear_candidate(const KernelRequest& request) {
  return prepare(request, kAlgorithm);
}
template PrepareResult prepare_linear_candidate<1>(const KernelRequest&);
template PrepareResult prepare_linear_candidate<2>(const KernelRequest&);
template PrepareResult prepare_linear_candidate<3>(const KernelRequest&);
template PrepareResult prepare_linear_candidate<4>(const KernelRequest&);
template PrepareResult prepare_linear_candidate<5>(const KernelRequest&);
template PrepareResult prepare_linear_candidate<6>(const KernelRequest&);
template PrepareResult prepare_linear_candidate<7>(const KernelRequest&);

}  // namespace bertie::cuda
