// reshape, squeeze and unsqueeze: the bytes as they lie. Step-by-step runs do not even copy them.
#include "cuda/copy_step.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

class Reshape final : public Step {
 public:
  Reshape(Operands& operands, DType kept) : Step(operands, kept) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    context.device->stream.copy(context.outputs[0].data, context.inputs[0].data, TensorView(context.outputs[0]).bytes());
  }
};

}  // namespace

PrepareResult prepare_reshape(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const DType kept = want_kept(operands, 0, "x");
    return Preparation{std::make_unique<Reshape>(operands, kept), "the bytes as they lie"};
  });
}

}  // namespace bertie::cuda
