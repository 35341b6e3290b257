#include "cuda/copy_step.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

class Split final : public CopyStep {
 public:
  Split(Operands& operands, DType kept, int axis) : CopyStep(operands, kept), axis_(axis) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const Strides from = row_major_strides(x.shape);
    const size_t bytes = dtype_size(x.dtype);
    const std::byte* next = x.as<std::byte>();
    for (const MutableTensorView& part : context.outputs) {
      copy(*context.device, next, from, part.data, row_major_strides(part.shape), part.shape, bytes);
      next += part.shape[axis_] * from[static_cast<size_t>(axis_)] * static_cast<int64_t>(bytes);
    }
  }

 private:
  int axis_;
};

}  // namespace

PrepareResult prepare_split(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const int64_t axis = request.node.integer("axis"), rank = static_cast<int64_t>(operands.value(0).shape.size());
    const DType kept = want_kept(operands, 0, "x");
    return Preparation{std::make_unique<Split>(operands, kept, static_cast<int>(axis < 0 ? axis + rank : axis)),
                       "elements copied, a launch a part"};
  });
}

}  // namespace bertie::cuda
