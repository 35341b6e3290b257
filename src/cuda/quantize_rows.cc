// quantize_rows: x [..., K] in eight bits, with a scale for each row or by scales fixed beforehand.
#include "cuda/kernels/quantize_rows.h"

#include "cuda/ops.h"
#include "cuda/step.h"
#include "network/quantized_output.h"

namespace bertie::cuda {
namespace {

enum Input : size_t { kX, kQuantization };

class QuantizeRows final : public Step {
 public:
  explicit QuantizeRows(Operands& operands)
      : Step(operands, DType::f32),  // the scales
        element_(element_of(operands.computed())),
        fixed_(operands.has(kQuantization)),
        e4m3_(quantizes_to_e4m3(operands.node())),
        launcher_(device().launcher<QuantizeRowsParams>("quantize_rows")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[kX];
    QuantizeRowsParams params{};
    params.x = x.data;
    params.element = element_;
    params.quantized.values = context.outputs[0].as<int8_t>();
    params.quantized.e4m3 = e4m3_;
    if (fixed_)
      params.quantized.quantization = context.inputs[kQuantization].as<float>();
    else
      params.quantized.scales = context.outputs[1].as<float>();
    params.rows = row_count(x.shape);
    params.width = x.shape.back();
    params.live_rows = x.shape.rank() == 2 ? live(context) : nullptr;
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  Element element_;
  bool fixed_, e4m3_;
  Launcher<QuantizeRowsParams> launcher_;
};

}  // namespace

PrepareResult prepare_quantize_rows(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    operands.want(kX, operands.computed(), "x");
    if (operands.has(kQuantization)) operands.want(kQuantization, DType::f32, "the quantization");
    return Preparation{std::make_unique<QuantizeRows>(operands), "a block a row"};
  });
}

}  // namespace bertie::cuda
