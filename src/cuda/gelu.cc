#include "cuda/kernels/activation.h"
#include "cuda/ops.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

class Gelu final : public Step {
 public:
  Gelu(Operands& operands, Activation function)
      : Step(operands, operands.computed()), function_(function), launcher_(device().launcher<ActivationParams>("activation")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    ActivationParams params{};
    params.x = x.data;
    params.y = context.outputs[0].data;
    params.x_element = element_of(x.dtype);
    params.y_element = element_of(context.outputs[0].dtype);
    params.function = function_;
    params.live_rows = live(context);
    params.rows = params.live_rows ? x.shape[0] : row_count(x.shape);
    params.width = params.rows > 0 ? x.shape.elements() / params.rows : 0;
    params.overflow = overflow(context);
    params.step = context.device->step;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  Activation function_;
  Launcher<ActivationParams> launcher_;
};

}  // namespace

PrepareResult prepare_gelu(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const bool tanh = request.node.text("approximate", "none") == "tanh";
    operands.want(0, operands.value(0).constant ? operands.computed() : operands.stored(0), "x");
    return Preparation{std::make_unique<Gelu>(operands, tanh ? Activation::gelu_tanh : Activation::gelu),
                       "eight elements a thread"};
  });
}

}  // namespace bertie::cuda
