#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_arg_reduce(const KernelRequest& request) {
  const Node& node = request.node;
  return take([axis = node.integer("axis"), largest = node.text("function") == "max",
               last = node.integer("select_last") != 0](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const AxisView view = around_axis(x.shape, axis_of(axis, x.shape.rank()));
    for (int64_t row = 0; row < view.outer * view.inner; ++row) {
      const int64_t first = row / view.inner * view.extent * view.inner + row % view.inner;
      const auto at = [&](int64_t place) { return first + place * view.inner; };
      // NaN is beyond every number, the first one as NumPy's.
      const auto better = [&](int64_t a, int64_t b) {
        if (!is_float(x.dtype)) {
          const int64_t p = integer(x, at(a)), q = integer(x, at(b));
          return p == q ? last : (p > q) == largest;
        }
        const double p = number(x, at(a)), q = number(x, at(b));
        if (std::isnan(q)) return false;
        return std::isnan(p) || (p == q ? last : (p > q) == largest);
      };
      int64_t best = 0;
      for (int64_t i = 1; i < view.extent; ++i) {
        if (better(i, best)) best = i;
      }
      context.outputs[0].as<int64_t>()[row] = best;
    }
  });
}

}  // namespace bertie::reference
