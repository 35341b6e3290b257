#include "cuda/copy_step.h"
#include "cuda/numbers.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

class Expand final : public CopyStep {
 public:
  Expand(Operands& operands, DType kept) : CopyStep(operands, kept) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& y = context.outputs[0];
    Strides from{};
    broadcast_strides(x.shape, y.shape, from.data());
    copy(*context.device, x.data, from, y.data, row_major_strides(y.shape), y.shape, dtype_size(y.dtype));
  }
};

}  // namespace

PrepareResult prepare_expand(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const DType kept = want_kept(operands, 0, "x");
    return Preparation{std::make_unique<Expand>(operands, kept), "elements copied"};
  });
}

}  // namespace bertie::cuda
