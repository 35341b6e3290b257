#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

class Normalize final : public Kernel {
 public:
  explicit Normalize(float epsilon) : kernels_(*active_isa().kernels), epsilon_(epsilon) {}

  void run(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const NormalizeRows rows{x.as<float>(), x.shape.back(), epsilon_, context.outputs[0].as<float>()};
    for_row_pieces(context.pool, row_count(x.shape), rows.extent,
                   [&](int64_t begin, int64_t end) { kernels_.normalize(rows, begin, end); });
  }

 private:
  const IsaKernels& kernels_;
  float epsilon_;
};

}  // namespace

PrepareResult prepare_normalize(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands(request).require_f32(0, "x");
    return Preparation{std::make_unique<Normalize>(static_cast<float>(request.node.real("epsilon"))),
                       "rows in the first-level cache"};
  });
}

}  // namespace bertie::cpu
