#include "network/slice.h"

#include "cuda/copy_step.h"
#include "cuda/ops.h"
#include "network/op.h"

namespace bertie::cuda {
namespace {

struct Cut {
  int axis;
  int64_t start, end, step;
};

class Slice final : public CopyStep {
 public:
  Slice(Operands& operands, DType kept, std::vector<Cut> cuts) : CopyStep(operands, kept), cuts_(std::move(cuts)) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& y = context.outputs[0];
    Strides from = row_major_strides(x.shape);
    int64_t origin = 0;
    for (const Cut& cut : cuts_) {
      int64_t& stride = from[static_cast<size_t>(cut.axis)];
      const SliceRange range = slice_range(cut.start, cut.end, cut.step, x.shape[cut.axis]);
      origin += range.start * stride;
      stride *= range.step;
    }
    const size_t bytes = dtype_size(y.dtype);
    copy(*context.device, x.as<std::byte>() + origin * static_cast<int64_t>(bytes), from, y.data, row_major_strides(y.shape),
         y.shape, bytes);
  }

 private:
  std::vector<Cut> cuts_;
};

}  // namespace

PrepareResult prepare_slice(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const auto numbers = [&](size_t input) {
      const auto known = known_integers(operands.value(input));
      if (!known) throw Refused{"a place that the run works out"};
      return *known;
    };
    const std::vector<int64_t> starts = numbers(1), ends = numbers(2);
    const int64_t rank = static_cast<int64_t>(operands.value(0).shape.size());
    std::vector<Cut> cuts;
    for (size_t i = 0; i < starts.size(); ++i) {
      const int64_t axis = operands.has(3) ? numbers(3)[i] : static_cast<int64_t>(i);
      cuts.push_back({static_cast<int>(axis < 0 ? axis + rank : axis), starts[i], ends[i], operands.has(4) ? numbers(4)[i] : 1});
    }
    const DType kept = want_kept(operands, 0, "x");
    return Preparation{std::make_unique<Slice>(operands, kept, std::move(cuts)), "elements copied"};
  });
}

}  // namespace bertie::cuda
