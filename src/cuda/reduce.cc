#include "cuda/kernels/reduce.h"

#include <algorithm>
#include <iterator>

#include "cuda/copy_step.h"
#include "cuda/ops.h"
#include "network/op.h"

namespace bertie::cuda {
namespace {

constexpr std::string_view kFunctions[] = {"mean", "sum", "max",        "min",     "prod",
                                           "l1",   "l2",  "sum_square", "log_sum", "log_sum_exp"};

class Reduce final : public Step {
 public:
  Reduce(Operands& operands, ReduceFunction function, std::array<bool, kMostAxes> reduced)
      : Step(operands, DType::f32),
        function_(function),
        reduced_(reduced),
        launcher_(device().launcher<ReduceParams>("reduce")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const Strides strides = row_major_strides(x.shape);
    ReduceParams params{};
    params.x = x.as<float>();
    params.y = context.outputs[0].as<float>();
    params.function = function_;
    params.count = params.terms = 1;
    for (int axis = 0; axis < x.shape.rank(); ++axis) {
      const size_t at = static_cast<size_t>(axis);
      if (reduced_[at]) {
        params.extents[params.axes] = x.shape[axis];
        params.strides[params.axes++] = strides[at];
        params.terms *= x.shape[axis];
      } else {
        params.kept_extents[params.kept_axes] = x.shape[axis];
        params.kept_strides[params.kept_axes++] = strides[at];
        params.count *= x.shape[axis];
      }
    }
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  ReduceFunction function_;
  std::array<bool, kMostAxes> reduced_;
  Launcher<ReduceParams> launcher_;
};

}  // namespace

PrepareResult prepare_reduce(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    operands.want(0, DType::f32, "x");
    const std::string name = request.node.text("function");
    const auto function = std::find(std::begin(kFunctions), std::end(kFunctions), name);
    if (function == std::end(kFunctions)) throw Refused{"no function " + name};
    std::vector<int64_t> axes;
    if (operands.has(1)) {
      const auto known = known_integers(operands.value(1));
      if (!known) throw Refused{"axes that the run works out"};
      axes = *known;
    }
    const int64_t rank = static_cast<int64_t>(operands.value(0).shape.size());
    std::array<bool, kMostAxes> reduced{};
    for (int64_t axis : axes) reduced[static_cast<size_t>(axis < 0 ? axis + rank : axis)] = true;
    if (axes.empty() && request.node.integer("noop_with_empty_axes") == 0) reduced.fill(true);
    return Preparation{
        std::make_unique<Reduce>(operands, static_cast<ReduceFunction>(function - std::begin(kFunctions)), reduced),
        "a warp or a block a result"};
  });
}

}  // namespace bertie::cuda
