// Sums along an axis, each with the elements before it; `exclusive` leaves the element itself out, `reverse` starts at the end.
#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

// Sum: what the running sum is kept in.
template <typename Out, typename Sum, typename Element>
void sum_along(const AxisView& view, bool exclusive, bool reverse, Out* out, Element element) {
  for (int64_t outer = 0; outer < view.outer; ++outer) {
    for (int64_t inner = 0; inner < view.inner; ++inner) {
      Sum sum = 0;
      for (int64_t i = 0; i < view.extent; ++i) {
        const int64_t place = reverse ? view.extent - 1 - i : i;
        const int64_t at = (outer * view.extent + place) * view.inner + inner;
        const Sum with = sum + static_cast<Sum>(element(at));
        out[at] = static_cast<Out>(exclusive ? sum : with);
        sum = with;
      }
    }
  }
}

}  // namespace

PrepareResult prepare_cumulative_sum(const KernelRequest& request) {
  const bool exclusive = request.node.integer("exclusive") != 0;
  const bool reverse = request.node.integer("reverse") != 0;
  return take([exclusive, reverse](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const MutableTensorView& out = context.outputs[0];
    const int64_t axis = index_within(integer(context.inputs[1], 0), x.shape.rank(), "cumulative_sum axis");
    const AxisView view = around_axis(x.shape, static_cast<int>(axis));
    if (is_float(x.dtype)) {
      sum_along<float, double>(view, exclusive, reverse, out.as<float>(), [&](int64_t at) { return number(x, at); });
      return;
    }
    with_integer_type(x.dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      sum_along<T, uint64_t>(view, exclusive, reverse, out.as<T>(), [&](int64_t at) { return integer(x, at); });
    });
  });
}

}  // namespace bertie::reference
