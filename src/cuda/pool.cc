#include "cuda/kernels/pool.h"

#include "backend/mode_names.h"
#include "cuda/numbers.h"
#include "cuda/ops.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

class Pool final : public Step {
 public:
  Pool(Operands& operands, PoolMode mode)
      : Step(operands, DType::f32), mode_(mode), launcher_(device().launcher<PoolParams>("pool")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const bool packed = x.shape.rank() == 2;
    PoolParams params{};
    params.x = x.data;
    params.y = context.outputs[0].as<float>();
    params.element = element_of(x.dtype);
    params.mode = mode_;
    params.sequences = context.outputs[0].shape[0];
    params.width = x.shape.back();
    params.length = packed ? 0 : x.shape[1];
    params.cumulative_lengths = packed ? context.batch.cumulative_lengths : nullptr;
    params.queries_only = packed ? context.batch.queries_only : nullptr;
    if (!packed && context.inputs.size() > 1) params.mask = row_mask(context.inputs[1]);
    params.live_sequences = live(context);
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  PoolMode mode_;
  Launcher<PoolParams> launcher_;
};

}  // namespace

PrepareResult prepare_pool(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const PoolMode mode = pool_mode_named<PoolMode>(request.node.text("mode"));
    if (operands.has(1)) want_number(operands, 1, "the mask");
    operands.want(0, operands.value(0).constant ? DType::f32 : operands.stored(0), "x");
    return Preparation{std::make_unique<Pool>(operands, mode), "a warp's lanes share columns, sums in f32"};
  });
}

}  // namespace bertie::cuda
