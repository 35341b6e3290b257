// Rows are sorted whole; the order is made in memory of its own, as only the run knows a row's length.
#include <algorithm>
#include <numeric>
#include <vector>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

void top_k(const KernelContext& context, int64_t axis, bool largest) {
  const TensorView& x = context.inputs[0];
  const int at = axis_of(axis, x.shape.rank());
  const AxisView view = around_axis(x.shape, at);
  const int64_t k = context.outputs[0].shape[at];
  std::vector<int64_t> order(static_cast<size_t>(view.extent));
  with_copy(x, context.outputs[0], [&](auto copy) {
    for (int64_t row = 0; row < view.outer * view.inner; ++row) {
      const int64_t outer = row / view.inner;
      const int64_t inner = row % view.inner;
      const auto place = [&](int64_t i) { return (outer * view.extent + i) * view.inner + inner; };
      std::iota(order.begin(), order.end(), 0);
      // NaN is the largest, as NumPy sorts it.
      const auto less = [&](int64_t a, int64_t b) {
        if (!is_float(x.dtype)) return integer(x, place(a)) < integer(x, place(b));
        const double p = number(x, place(a)), q = number(x, place(b));
        return std::isnan(q) ? !std::isnan(p) : p < q;
      };
      std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return largest ? less(b, a) : less(a, b); });
      for (int64_t i = 0; i < k; ++i) {
        const int64_t target = (outer * k + i) * view.inner + inner;
        copy(target, place(order[static_cast<size_t>(i)]));
        context.outputs[1].as<int64_t>()[target] = order[static_cast<size_t>(i)];
      }
    }
  });
}

}  // namespace

PrepareResult prepare_top_k(const KernelRequest& request) {
  return take([axis = request.node.integer("axis", -1), largest = request.node.integer("largest", 1) != 0](
                  const KernelContext& context) { top_k(context, axis, largest); });
}

}  // namespace bertie::reference
