#include "network/slice.h"

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

void slice(const KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView& starts = context.inputs[1];
  const TensorView& ends = context.inputs[2];
  const TensorView axes = input(context, 3);
  const TensorView steps = input(context, 4);
  Strides strides = row_major_strides(x.shape);
  int64_t origin = 0;
  for (int64_t i = 0; i < starts.shape[0]; ++i) {
    const int axis = axis_of(axes.data ? integer(axes, i) : i, x.shape.rank());
    const SliceRange range = slice_range(integer(starts, i), integer(ends, i), steps.data ? integer(steps, i) : 1, x.shape[axis]);
    origin += range.start * strides[static_cast<size_t>(axis)];
    strides[static_cast<size_t>(axis)] *= range.step;
  }
  with_copy(x, context.outputs[0], [&](auto copy) {
    walk(context.outputs[0].shape, strides, [&](int64_t i, int64_t from) { copy(i, origin + from); });
  });
}

}  // namespace

PrepareResult prepare_slice(const KernelRequest&) { return take(slice); }

}  // namespace bertie::reference
