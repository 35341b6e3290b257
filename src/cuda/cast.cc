#include "cuda/kernels/cast.h"

#include "cuda/numbers.h"
#include "cuda/ops.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

// Between floats: the network says f32 for all of them, and results in 16 bits are another step's.
class Widen final : public Step {
 public:
  explicit Widen(Operands& operands) : Step(operands, DType::f32), launcher_(device().launcher<ConvertParams>("convert")) {}

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

// Where one of the two is no float.
class Cast final : public Step {
 public:
  Cast(Operands& operands, const CastParams& params)
      : Step(operands, DType::f32), params_(params), launcher_(device().launcher<CastParams>("cast")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    CastParams params = params_;
    params.x = context.inputs[0].data;
    params.y = context.outputs[0].data;
    params.count = context.outputs[0].shape.elements();
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  CastParams params_;
  Launcher<CastParams> launcher_;
};

}  // namespace

PrepareResult prepare_cast(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const DType from = operands.stored(0), to = operands.result().dtype;
    if (operands.value(0).constant) throw Refused{"a constant"};
    if (is_stored_float(from) && to == DType::f32) {
      operands.want_as_it_is(0);
      return Preparation{std::make_unique<Widen>(operands), "one pass"};
    }
    want_number(operands, 0, "x");
    CastParams params{};
    params.from = is_stored_float(from) ? Number::f32 : number_of(from, "x");
    params.to = number_of(to, "the result");
    params.to_boolean = to == DType::boolean;
    return Preparation{std::make_unique<Cast>(operands, params), "one element a thread"};
  });
}

}  // namespace bertie::cuda
