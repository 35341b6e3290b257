#include "cuda/copy_step.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

class Concat final : public CopyStep {
 public:
  Concat(Operands& operands, DType kept, int axis) : CopyStep(operands, kept), axis_(axis) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const MutableTensorView& y = context.outputs[0];
    const Strides to = row_major_strides(y.shape);
    const size_t bytes = dtype_size(y.dtype);
    std::byte* next = y.as<std::byte>();
    for (const TensorView& part : context.inputs) {
      copy(*context.device, part.data, row_major_strides(part.shape), next, to, part.shape, bytes);
      next += part.shape[axis_] * to[static_cast<size_t>(axis_)] * static_cast<int64_t>(bytes);
    }
  }

 private:
  int axis_;
};

}  // namespace

PrepareResult prepare_concat(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const size_t parts = request.node.inputs.size();
    if (parts > kMostInputs) throw Refused{fmt::format("{} parts: at most {}", parts, kMostInputs)};
    const DType kept = want_alike(operands, 0, parts, "a part");
    const int64_t axis = request.node.integer("axis"), rank = static_cast<int64_t>(operands.result().shape.size());
    return Preparation{std::make_unique<Concat>(operands, kept, static_cast<int>(axis < 0 ? axis + rank : axis)),
                       "elements copied, a launch a part"};
  });
}

}  // namespace bertie::cuda
