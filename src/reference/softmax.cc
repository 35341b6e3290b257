// exp(x - largest) / sum of them, or its logarithm, along an axis. A row of -inf alone gives NaN, as ONNX has it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_softmax(const KernelRequest& request) {
  const bool logarithm = request.node.integer("logarithm") != 0;
  return take([axis = request.node.integer("axis", -1), logarithm](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    float* out = context.outputs[0].as<float>();
    const AxisView view = around_axis(x.shape, axis_of(axis, x.shape.rank()));
    context.pool.parallel_for(view.outer * view.inner, [&](int64_t row, int) {
      const int64_t first = row / view.inner * view.extent * view.inner + row % view.inner;
      const auto element = [&](int64_t i) { return number(x, first + i * view.inner); };
      double largest = -std::numeric_limits<double>::infinity();
      for (int64_t i = 0; i < view.extent; ++i) largest = std::max(largest, element(i));
      double sum = 0;
      for (int64_t i = 0; i < view.extent; ++i) sum += std::exp(element(i) - largest);
      for (int64_t i = 0; i < view.extent; ++i) {
        const double shifted = element(i) - largest;
        out[first + i * view.inner] = static_cast<float>(logarithm ? shifted - std::log(sum) : std::exp(shifted) / sum);
      }
    });
  });
}

}  // namespace bertie::reference
