#include "cuda/kernels/gather.h"

#include <algorithm>

#include "cuda/copy_step.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

class Gather final : public Step {
 public:
  Gather(Operands& operands, DType kept, int axis, int64_t least, int64_t most)
      : Step(operands, kept), axis_(axis), least_(least), most_(most), launcher_(device().launcher<GatherParams>("gather")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const TensorView& indices = context.inputs[1];
    GatherParams params{};
    params.x = x.data;
    params.indices = indices.data;
    params.wide_indices = indices.dtype == DType::i64;
    params.y = context.outputs[0].data;
    params.outer = 1;
    params.extent = x.shape[axis_];
    params.count = indices.shape.elements();
    params.inner_bytes = static_cast<int64_t>(dtype_size(x.dtype));
    for (int axis = 0; axis < axis_; ++axis) params.outer *= x.shape[axis];
    for (int axis = axis_ + 1; axis < x.shape.rank(); ++axis) params.inner_bytes *= x.shape[axis];
    for (const int64_t index : {least_, most_}) {
      if (params.count > 0 && (index < -params.extent || index >= params.extent))
        fail(ErrorCode::invalid_argument, "gather: index {} of {}", index, params.extent);
    }
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  int axis_;
  int64_t least_, most_;  // index
  Launcher<GatherParams> launcher_;
};

}  // namespace

PrepareResult prepare_gather(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const DType kept = want_kept(operands, 0, "x");
    const auto& constant = operands.value(1).constant;
    if (!constant) throw Refused{"indices that the run works out"};
    int64_t least = 0, most = 0;
    for (int64_t i = 0; i < constant->shape.elements(); ++i) {
      const TensorView view = constant->view();
      const int64_t index = view.dtype == DType::i64 ? view.as<int64_t>()[i] : view.as<int32_t>()[i];
      least = i == 0 ? index : std::min(least, index);
      most = i == 0 ? index : std::max(most, index);
    }
    operands.want_as_it_is(1);
    const int64_t axis = request.node.integer("axis"), rank = static_cast<int64_t>(operands.value(0).shape.size());
    return Preparation{std::make_unique<Gather>(operands, kept, static_cast<int>(axis < 0 ? axis + rank : axis), least, most),
                       "slices copied whole"};
  });
}

}  // namespace bertie::cuda
