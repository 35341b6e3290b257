// linear: x [..., K] times weight [N, K] transposed, + bias: by cuBLASLt, with an activation as a kernel of its own behind it, or by
// cluster_linear for few tiles and wgmma_linear for more, which do both.
#include <optional>

#include "cuda/hopper_linear.h"
#include "cuda/ops.h"
#include "cuda/products.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

enum Input : size_t { kX, kWeight, kBias };

struct Wgmma {
  HopperLinear linear;
  std::shared_ptr<const DeviceBuffer> bias;  // f32
};

class Linear final : public Step {
 public:
  Linear(Operands&& operands, Activation activation, int algorithm, std::optional<Wgmma> wgmma = std::nullopt)
      : Step(std::move(operands), operands.computed()),
        activation_(activation),
        algorithm_(algorithm),
        wgmma_(std::move(wgmma)),
        launcher_(device().launcher<ActivationParams>("activation")) {
    product_.element = product_.result = static_cast<int32_t>(element_of(operands.computed()));
    product_.tf32 = operands.tf32();
    product_.transposed = 1;
    product_.has_bias = operands.has(kBias);
    product_.batch = 1;
  }

 protected:
  size_t own_workspace_bytes(const BatchLimits&) const override { return wgmma_ ? 0 : kProductWorkspace; }

  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[kX];
    const MutableTensorView& y = context.outputs[0];
    BertieCudaProduct product = product_;
    product.m = row_count(x.shape);
    product.k = x.shape.back();
    product.n = y.shape.back();
    if (product.m == 0) return;
    if (wgmma_) return run_wgmma(context);
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
  void run_wgmma(const KernelContext& context) const {
    const TensorView& x = context.inputs[kX];
    const MutableTensorView& y = context.outputs[0];
    WgmmaLinearParams params{};
    params.x = x.data;
    params.weight = context.inputs[kWeight].data;
    if (wgmma_->bias) params.bias = reinterpret_cast<const float*>(wgmma_->bias->data());
    params.y = y.data;
    params.element = element_of(y.dtype);
    params.activation = activation_;
    params.rows = row_count(x.shape);
    params.columns = y.shape.back();
    params.depth = x.shape.back();
    params.live_rows = y.shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = overflow(context);
    params.step = context.device->step;
    wgmma_->linear.launch(params, context.device->stream);
  }

  Activation activation_;
  int32_t algorithm_;  // which of cuBLASLt's candidates; its heuristics' first where there are fewer
  std::optional<Wgmma> wgmma_;
  BertieCudaProduct product_{};
  Launcher<ActivationParams> launcher_;
};

void want_operands(Operands& operands) {
  operands.want(kX, operands.computed(), "x");
  if (!operands.value(kWeight).constant) throw Refused{"the weight is not constant"};
  operands.want(kWeight, operands.computed(), "the weight");
  if (operands.has(kBias)) operands.want(kBias, operands.computed(), "the bias");
}

PrepareResult prepare(const KernelRequest& request, int algorithm) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const Activation activation = activation_of(request.node);
    want_operands(operands);
    const char* reason = operands.tf32() ? "cuBLASLt, f32 rounded to tf32" : "cuBLASLt, sums in f32";
    return Preparation{std::make_unique<Linear>(std::move(operands), activation, algorithm), reason};
  });
}

}  // namespace

PrepareResult prepare_linear(const KernelRequest& request) { return prepare(request, 0); }

PrepareResult prepare_wgmma_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    refuse_without_wgmma(*operands.device());
    const Activation activation = activation_of(request.node);
    if (activation != Activation::none && activation != Activation::gelu) throw Refused{"another activation than GELU (erf)"};
    if (operands.computed() == DType::f32) throw Refused{"operands of f32"};
    want_operands(operands);
    const SymbolicShape& weight = operands.value(kWeight).shape;
    const int64_t columns = weight[0].size, depth = weight[1].size;
    if (!wgmma_linear_takes(element_of(operands.computed()), columns, depth)) {
      throw Refused{
          fmt::format("{} columns, {} deep: multiples of 8, and at least {} deep", columns, depth, kWgmmaLinearLeastDepth)};
    }
    Wgmma wgmma{HopperLinear(*operands.device()), nullptr};
    if (operands.has(kBias)) {
      const std::optional<Tensor>& bias = operands.value(kBias).constant;
      if (!bias) throw Refused{"the bias is not constant"};
      wgmma.bias = operands.device()->upload(*bias, DType::f32);
    }
    const char* reason = activation == Activation::none ? "sums in f32; few tiles: cluster_linear"
                                                        : "sums in f32, GELU beside products; few tiles: cluster_linear";
    return Preparation{std::make_unique<Linear>(std::move(operands), activation, 0, std::move(wgmma)), reason};
  });
}

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
