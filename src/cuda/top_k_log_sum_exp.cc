#include "cuda/kernels/top_k_log_sum_exp.h"

#include "cuda/ops.h"
#include "cuda/step.h"

namespace bertie::cuda {
namespace {

class TopKLogSumExp final : public Step {
 public:
  TopKLogSumExp(Operands& operands, int32_t k)
      : Step(operands, DType::f32), k_(k), launcher_(device().launcher<TopKLogSumExpParams>("top_k_log_sum_exp")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    TopKLogSumExpParams params{};
    params.x = x.data;
    params.y = context.outputs[0].as<float>();
    params.element = element_of(x.dtype);
    params.rows = row_count(x.shape);
    params.extent = x.shape.back();
    params.k = k_;
    params.live_rows = x.shape.rank() == 2 ? live(context) : nullptr;
    params.overflow = x.dtype == DType::f16 ? context.device->overflow : nullptr;
    params.step = context.device->step;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  int32_t k_;
  Launcher<TopKLogSumExpParams> launcher_;
};

}  // namespace

PrepareResult prepare_top_k_log_sum_exp(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    operands.want(0, operands.value(0).constant ? DType::f32 : operands.stored(0), "x");
    const int64_t k = request.node.integer("k");
    if (k > kTopKMost) throw Refused{fmt::format("{} of a row: at most {}", k, kTopKMost)};
    return Preparation{std::make_unique<TopKLogSumExp>(operands, static_cast<int32_t>(k)), "a block a row"};
  });
}

}  // namespace bertie::cuda
