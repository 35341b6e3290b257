#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

enum class Mode { mean, cls, max, mean_sqrt_length };

Mode pool_mode(const std::string& name) {
  if (name == "mean") return Mode::mean;
  if (name == "cls") return Mode::cls;
  if (name == "max") return Mode::max;
  if (name == "mean_sqrt_length") return Mode::mean_sqrt_length;
  fail(ErrorCode::unsupported, "reference: no pooling mode '{}'", name);
}

// Rows [begin, end) of x are those that count, but for what the mask leaves out. Without any the result is 0.
double pool(Mode mode, const TensorView& x, const TensorView& mask, int64_t begin, int64_t end, int64_t column) {
  const int64_t extent = x.shape.back();
  double sum = 0;
  double largest = -std::numeric_limits<double>::infinity();
  int64_t length = 0;
  for (int64_t row = begin; row < end; ++row) {
    if (!attended(mask, row)) continue;
    const double value = number(x, row * extent + column);
    sum += value;
    largest = std::isnan(value) ? value : std::max(value, largest);
    ++length;
  }
  if (length == 0) return 0;
  if (mode == Mode::max) return largest;
  return sum / (mode == Mode::mean ? static_cast<double>(length) : std::sqrt(static_cast<double>(length)));
}

}  // namespace

PrepareResult prepare_pool(const KernelRequest& request) {
  return take([mode = pool_mode(request.node.text("mode"))](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const TensorView mask = context.inputs.size() > 1 ? context.inputs[1] : TensorView{};
    const MutableTensorView& out = context.outputs[0];
    const int64_t extent = x.shape.back();
    const bool packed = x.shape.rank() == 2;
    const int32_t* starts = context.batch.cumulative_lengths;
    for (int64_t b = 0; b < out.shape[0]; ++b) {
      const int64_t first = packed ? starts[b] : b * x.shape[1];
      const int64_t end = packed ? starts[b + 1] : first + x.shape[1];
      for (int64_t i = 0; i < extent; ++i) {
        float& result = out.as<float>()[b * extent + i];
        if (mode == Mode::cls) {  // whatever the mask says of it
          result = first < end ? static_cast<float>(number(x, first * extent + i)) : 0;
        } else {
          result = static_cast<float>(pool(mode, x, mask, packed ? context.batch.first_key(b) : first, end, i));
        }
      }
    }
  });
}

}  // namespace bertie::reference
