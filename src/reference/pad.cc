#include <algorithm>
#include <cstring>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

enum class Mode { constant, edge, reflect, wrap };

Mode mode_named(const std::string& name) {
  if (name == "edge") return Mode::edge;
  if (name == "reflect") return Mode::reflect;
  if (name == "wrap") return Mode::wrap;
  return Mode::constant;
}

int64_t modulo(int64_t a, int64_t b) { return (a % b + b) % b; }

// The place in x that stands at `place`, which may lie outside [0, extent); -1 where nothing of x does.
int64_t source_place(Mode mode, int64_t place, int64_t extent) {
  if (place >= 0 && place < extent) return place;
  if (mode == Mode::constant || extent == 0) return -1;
  if (mode == Mode::edge) return std::clamp<int64_t>(place, 0, extent - 1);
  if (mode == Mode::wrap) return modulo(place, extent);
  if (extent == 1) return 0;
  const int64_t turned = modulo(place, 2 * (extent - 1));
  return turned < extent ? turned : 2 * (extent - 1) - turned;
}

void pad(const KernelContext& context, Mode mode) {
  const TensorView& x = context.inputs[0];
  const TensorView& pads = context.inputs[1];
  const TensorView value = input(context, 2);
  const TensorView axes = input(context, 3);
  const MutableTensorView& out = context.outputs[0];
  std::array<int64_t, Shape::kMaxRank> before{};
  const int64_t padded = axes.data ? axes.shape.elements() : x.shape.rank();
  for (int64_t i = 0; i < padded; ++i)
    before[static_cast<size_t>(axis_of(axes.data ? integer(axes, i) : i, x.shape.rank()))] = integer(pads, i);
  if (out.shape.elements() > 0) std::memset(out.data, 0, static_cast<TensorView>(out).bytes());
  const auto fill = [&](auto copy) {
    for (int64_t i = 0; value.data && i < out.shape.elements(); ++i) copy(i, 0);
  };
  if (value.data) with_copy(value, out, fill);
  const Strides strides = row_major_strides(x.shape);
  with_copy(x, out, [&](auto copy) {
    for (int64_t i = 0; i < out.shape.elements(); ++i) {
      int64_t source = 0;
      int64_t rest = i;
      for (int axis = out.shape.rank() - 1; axis >= 0 && source >= 0; --axis) {
        const int64_t place = source_place(mode, rest % out.shape[axis] - before[static_cast<size_t>(axis)], x.shape[axis]);
        source = place < 0 ? -1 : source + place * strides[static_cast<size_t>(axis)];
        rest /= out.shape[axis];
      }
      if (source >= 0) copy(i, source);
    }
  });
}

}  // namespace

PrepareResult prepare_pad(const KernelRequest& request) {
  return take([mode = mode_named(request.node.text("mode", "constant"))](const KernelContext& context) { pad(context, mode); });
}

}  // namespace bertie::reference
