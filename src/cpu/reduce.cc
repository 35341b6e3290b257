// Sums and means over the last axis.
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"
#include "network/op.h"

namespace bertie::cpu {
namespace {

class Reduce final : public Kernel {
 public:
  explicit Reduce(bool mean) : mean_(mean) {}

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const int64_t extent = x.shape.back();
    const ReduceRows rows{x.as<float>(), extent, mean_ ? static_cast<float>(extent) : 1.0f, context.outputs[0].as<float>()};
    for_row_pieces(context.pool, row_count(x.shape), extent,
                   [&](int64_t begin, int64_t end) { kernels_.reduce(rows, begin, end); });
  }

 private:
  const IsaKernels& kernels_ = *active_isa().kernels;
  bool mean_;
};

}  // namespace

PrepareResult prepare_reduce(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    operands.require_f32(0, "x");
    const std::string function = request.node.text("function");
    if (function != "mean" && function != "sum") throw Refused{"no vectorised " + function};
    const int64_t rank = static_cast<int64_t>(operands.value(0).shape.size());
    const auto axes = operands.has(1) ? known_elements(operands.value(1)) : std::nullopt;
    const bool last = axes && axes->size() == 1 && ((*axes)[0] == Dim(-1) || (*axes)[0] == Dim(rank - 1));
    if (!last) throw Refused{"axes other than the last"};
    return Preparation{std::make_unique<Reduce>(function == "mean"), "rows summed sixteen elements at a time"};
  });
}

}  // namespace bertie::cpu
