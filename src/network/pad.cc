// ONNX Pad: pads holds how much is put before each axis (or each of `axes`), then how much behind it; a negative number crops.
// mode: constant (of `value`, 0 where it is left out), edge, reflect, wrap.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

enum Input : size_t { kX, kPads, kValue, kAxes };

void infer_pad(OpContext& context) {
  context.require_index(kPads);
  context.require_one_of("mode", context.node().text("mode", "constant"), {"constant", "edge", "reflect", "wrap"});
  if (context.has(kValue)) {
    context.require((context.shape(kValue).empty() || context.shape(kValue) == SymbolicShape{Dim(1)}) &&
                        widened(context.dtype(kValue)) == widened(context.dtype(kX)),
                    "a value of one element of x's dtype");
  }
  SymbolicShape shape = context.shape(kX);
  std::vector<int64_t> axes;
  for (size_t i = 0; i < shape.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  if (context.has(kAxes)) {
    const auto known = context.integers(kAxes);
    if (!known) context.reject("axes known before the run");
    axes = *known;
  }
  const auto pads = context.elements(kPads);
  context.require(!pads || pads->size() == 2 * axes.size(), "two pads for each axis");
  for (size_t i = 0; i < axes.size(); ++i) {
    const size_t axis = context.axis(axes[i], shape.size());
    shape[axis] = pads ? shape[axis] + (*pads)[i] + (*pads)[i + axes.size()] : unknown_dim(context.node().name, axis);
    if (shape[axis].is_fixed()) context.require(shape[axis].size >= 0, "pads that leave 0 elements or more");
  }
  context.output(widened(context.dtype(kX)), std::move(shape));
}

}  // namespace

const OpDescriptor& pad_op() {
  static const OpDescriptor op{"pad", 2, {"x", "pads", "value", "axes"}, {"mode"}, infer_pad};
  return op;
}

}  // namespace bertie
