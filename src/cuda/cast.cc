#include "cuda/ops.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

// Between floats: the network says f32 for all of them, and results in 16 bits are another step's.
class Cast final : public Step {
 public:
  explicit Cast(Operands&& operands)
      : Step(std::move(operands), DType::f32), launcher_(device().launcher<ConvertParams>("convert")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    ConvertParams params{};
    params.from = x.data;
    params.to = context.outputs[0].data;
    params.from_element = element_of(x.dtype);
    params.to_element = Element::f32;
    params.count = x.shape.elements();
    params.live_rows = live(context);
    if (params.live_rows && x.shape[0] > 0) params.row_elements = params.count / x.shape[0];
    params.overflow = x.dtype == DType::f16 ? context.device->overflow : nullptr;
    params.step = context.device->step;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  Launcher<ConvertParams> launcher_;
};

}  // namespace

PrepareResult prepare_cast(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const DType from = operands.stored(0);
    if (operands.result().dtype != DType::f32 || operands.value(0).constant ||
        (from != DType::f32 && from != DType::f16 && from != DType::bf16))
      throw Refused{fmt::format("from {} to {}", dtype_name(from), dtype_name(operands.result().dtype))};
    operands.want_as_it_is(0);
    return Preparation{std::make_unique<Cast>(std::move(operands)), "one pass"};
  });
}

}  // namespace bertie::cuda
