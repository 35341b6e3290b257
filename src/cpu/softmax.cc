#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

class Softmax final : public Kernel {
 public:
  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const SoftmaxRows rows{x.as<float>(), x.shape.back(), context.outputs[0].as<float>()};
    for_row_pieces(context.pool, row_count(x.shape), rows.extent,
                   [&](int64_t begin, int64_t end) { kernels_.softmax(rows, begin, end); });
  }

 private:
  const IsaKernels& kernels_ = *active_isa().kernels;
};

}  // namespace

PrepareResult prepare_softmax(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    operands.require_f32(0, "x");
    const int64_t rank = static_cast<int64_t>(operands.value(0).shape.size());
    const int64_t axis = request.node.integer("axis", -1);
    if (axis != -1 && axis != rank - 1) throw Refused{"an axis that is not the last"};
    if (request.node.integer("logarithm") != 0) throw Refused{"no vectorised logarithm"};
    return Preparation{std::make_unique<Softmax>(), "sixteen elements at a time"};
  });
}

}  // namespace bertie::cpu
