#include "cuda/kernels/normalize.h"

#include "cuda/ops.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

class Normalize final : public Step {
 public:
  Normalize(Operands& operands, float epsilon)
      : Step(operands, DType::f32), epsilon_(epsilon), launcher_(device().launcher<NormalizeParams>("normalize")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    NormalizeParams params{};
    params.x = x.data;
    params.y = context.outputs[0].as<float>();
    params.element = element_of(x.dtype);
    params.rows = row_count(x.shape);
    params.width = x.shape.back();
    params.epsilon = epsilon_;
    params.live_rows = x.shape.rank() == 2 ? live(context) : nullptr;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  float epsilon_;
  Launcher<NormalizeParams> launcher_;
};

}  // namespace

PrepareResult prepare_normalize(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    operands.want(0, operands.value(0).constant ? DType::f32 : operands.stored(0), "x");
    return Preparation{std::make_unique<Normalize>(operands, static_cast<float>(request.node.real("epsilon"))), "a warp a row"};
  });
}

}  // namespace bertie::cuda
