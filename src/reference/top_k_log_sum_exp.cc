#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

// Places are sorted in memory of the run's own, as only it may know a row's length.
PrepareResult prepare_top_k_log_sum_exp(const KernelRequest& request) {
  return take([k = request.node.integer("k")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const int64_t extent = x.shape.back();
    std::vector<int64_t> order(static_cast<size_t>(extent));
    for (int64_t row = 0; row < row_count(x.shape); ++row) {
      const auto element = [&](int64_t i) { return number(x, row * extent + i); };
      const auto better = [&](int64_t a, int64_t b) {
        const double p = element(a), q = element(b);
        if (std::isnan(p) || std::isnan(q)) return std::isnan(p) == std::isnan(q) ? a < b : std::isnan(q);
        return p != q ? p > q : a < b;
      };
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + k, order.end(), better);
      float* out = context.outputs[0].as<float>() + row * (2 * k + 1);
      for (int64_t i = 0; i < k; ++i) {
        out[i] = static_cast<float>(element(order[static_cast<size_t>(i)]));
        out[k + i] = static_cast<float>(order[static_cast<size_t>(i)]);
      }
      const double largest = element(order[0]);
      double sum = 0;
      for (int64_t i = 0; i < extent; ++i) sum += std::exp(element(i) - largest);
      out[2 * k] = static_cast<float>(std::isfinite(largest) ? largest + std::log(sum) : largest);
    }
  });
}

}  // namespace bertie::reference
