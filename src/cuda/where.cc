#include "cuda/kernels/where.h"

#include "cuda/copy_step.h"
#include "cuda/numbers.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

class Where final : public Step {
 public:
  Where(Operands& operands, DType kept) : Step(operands, kept), launcher_(device().launcher<WhereParams>("where")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const Shape& shape = context.outputs[0].shape;
    WhereParams params{};
    params.condition = context.inputs[0].as<uint8_t>();
    params.a = context.inputs[1].data;
    params.b = context.inputs[2].data;
    params.y = context.outputs[0].data;
    params.element_bytes = static_cast<int32_t>(dtype_size(context.outputs[0].dtype));
    params.count = shape.elements();
    params.axes = shape.rank();
    std::copy(shape.begin(), shape.end(), params.extents);
    broadcast_strides(context.inputs[0].shape, shape, params.condition_strides);
    broadcast_strides(context.inputs[1].shape, shape, params.a_strides);
    broadcast_strides(context.inputs[2].shape, shape, params.b_strides);
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  Launcher<WhereParams> launcher_;
};

}  // namespace

PrepareResult prepare_where(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    operands.want_as_it_is(0);
    const DType kept = want_alike(operands, 1, 3, "a or b");
    return Preparation{std::make_unique<Where>(operands, kept), "one element a thread"};
  });
}

}  // namespace bertie::cuda
