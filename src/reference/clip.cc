// min(max(x, low), high): where low > high the result is high. NaN stays NaN.
#include <limits>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

template <typename T>
T clipped(T x, T low, T high) {
  const T raised = x < low ? low : x;
  return raised > high ? high : raised;
}

void clip(const KernelContext& context) {
  const TensorView& x = context.inputs[0];
  const TensorView low = input(context, 1);
  const TensorView high = input(context, 2);
  const MutableTensorView& out = context.outputs[0];
  const int64_t count = x.shape.elements();
  if (is_float(x.dtype)) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const double bottom = low.data ? number(low, 0) : -kInfinity;
    const double top = high.data ? number(high, 0) : kInfinity;
    for (int64_t i = 0; i < count; ++i) out.as<float>()[i] = static_cast<float>(clipped(number(x, i), bottom, top));
    return;
  }
  const int64_t bottom = low.data ? integer(low, 0) : std::numeric_limits<int64_t>::min();
  const int64_t top = high.data ? integer(high, 0) : std::numeric_limits<int64_t>::max();
  with_integer_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    for (int64_t i = 0; i < count; ++i) out.as<T>()[i] = static_cast<T>(clipped(integer(x, i), bottom, top));
  });
}

}  // namespace

PrepareResult prepare_clip(const KernelRequest&) { return take(clip); }

}  // namespace bertie::reference
