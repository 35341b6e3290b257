#include "cuda/kernels/softmax.h"

#include "cuda/ops.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

class Softmax final : public Step {
 public:
  Softmax(Operands& operands, int axis, bool logarithm)
      : Step(operands, DType::f32), axis_(axis), logarithm_(logarithm), launcher_(device().launcher<SoftmaxParams>("softmax")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    if (x.shape.elements() == 0) return;
    SoftmaxParams params{};
    params.x = x.as<float>();
    params.y = context.outputs[0].as<float>();
    params.extent = x.shape[axis_];
    params.outer = params.inner = 1;
    for (int axis = 0; axis < axis_; ++axis) params.outer *= x.shape[axis];
    for (int axis = axis_ + 1; axis < x.shape.rank(); ++axis) params.inner *= x.shape[axis];
    params.logarithm = logarithm_;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  int axis_;
  bool logarithm_;
  Launcher<SoftmaxParams> launcher_;
};

}  // namespace

PrepareResult prepare_softmax(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    operands.want(0, DType::f32, "x");
    const int64_t axis = request.node.integer("axis", -1), rank = static_cast<int64_t>(operands.value(0).shape.size());
    return Preparation{std::make_unique<Softmax>(operands, static_cast<int>(axis < 0 ? axis + rank : axis),
                                                 request.node.integer("logarithm") != 0),
                       "a warp or a block a row"};
  });
}

}  // namespace bertie::cuda
