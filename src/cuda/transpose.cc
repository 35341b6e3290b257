#include <numeric>

#include "cuda/copy_step.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

class Transpose final : public CopyStep {
 public:
  Transpose(Operands& operands, DType kept, std::vector<int64_t> permutation)
      : CopyStep(operands, kept), permutation_(std::move(permutation)) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& y = context.outputs[0];
    const Strides own = row_major_strides(x.shape);
    Strides from{};
    for (size_t axis = 0; axis < permutation_.size(); ++axis) from[axis] = own[static_cast<size_t>(permutation_[axis])];
    copy(*context.device, x.data, from, y.data, row_major_strides(y.shape), y.shape, dtype_size(y.dtype));
  }

 private:
  std::vector<int64_t> permutation_;
};

}  // namespace

PrepareResult prepare_transpose(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    std::vector<int64_t> permutation = request.node.integers("permutation");
    if (permutation.empty()) {
      permutation.resize(operands.value(0).shape.size());
      std::iota(permutation.rbegin(), permutation.rend(), 0);
    }
    const DType kept = want_kept(operands, 0, "x");
    return Preparation{std::make_unique<Transpose>(operands, kept, std::move(permutation)),
                       "elements copied, in tiles where both do not lie dense along one axis"};
  });
}

}  // namespace bertie::cuda
