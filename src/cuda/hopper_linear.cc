// linear on Hopper, in 16 bits: x [..., K] times weight [N, K] transposed, + bias, and GELU with it, by cluster_linear for few tiles and by
// wgmma_linear for more.
#include "cuda/hopper_linear.h"

#include "cuda/ops.h"
#include "cuda/products.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

enum Input : size_t { kX, kWeight, kBias };

class HopperLinearStep final : public Step {
 public:
  HopperLinearStep(Operands& operands, Activation activation)
      : Step(operands, operands.computed()), activation_(activation), linear_(device()) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[kX];
    const MutableTensorView& y = context.outputs[0];
    WgmmaLinearParams params{};
    params.x = x.data;
    params.weight = context.inputs[kWeight].data;
    if (context.inputs.size() > kBias) params.bias = context.inputs[kBias].as<float>();
    params.y = y.data;
    params.element = element_of(y.dtype);
    params.activation = activation_;
    params.rows = row_count(x.shape);
    params.columns = y.shape.back();
    params.depth = x.shape.back();
    params.live_rows = y.shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = overflow(context);
    params.step = context.device->step;
    if (params.rows > 0) linear_.launch(params, context.device->stream);
  }

 private:
  Activation activation_;
  HopperLinear linear_;
};

}  // namespace

PrepareResult prepare_wgmma_linear(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    refuse_without_wgmma(*operands.device());
    const Activation activation = activation_of(request.node);
    if (activation != Activation::none && activation != Activation::gelu) throw Refused{"another activation than GELU (erf)"};
    if (operands.computed() == DType::f32) throw Refused{"operands of f32"};
    if (!operands.value(kWeight).constant) throw Refused{"the weight is not constant"};
    if (operands.has(kBias) && !operands.value(kBias).constant) throw Refused{"the bias is not constant"};
    const SymbolicShape& weight = operands.value(kWeight).shape;
    const int64_t columns = weight[0].size, depth = weight[1].size;
    if (!wgmma_linear_takes(element_of(operands.computed()), columns, depth)) {
      throw Refused{
          fmt::format("{} columns, {} deep: multiples of 8, and at least {} deep", columns, depth, kWgmmaLinearLeastDepth)};
    }
    operands.want(kX, operands.computed(), "x");
    operands.want(kWeight, operands.computed(), "the weight");
    if (operands.has(kBias)) operands.want(kBias, DType::f32, "the bias");
    return Preparation{std::make_unique<HopperLinearStep>(operands, activation),
                       activation == Activation::none ? "sums in f32; few tiles: cluster_linear"
                                                      : "sums in f32, GELU beside products; few tiles: cluster_linear"};
  });
}

}  // namespace bertie::cuda
