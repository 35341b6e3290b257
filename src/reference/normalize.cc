#include <algorithm>
#include <cmath>

#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {

PrepareResult prepare_normalize(const KernelRequest& request) {
  return take([epsilon = request.node.real("epsilon")](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    const int64_t extent = x.shape.back();
    for (int64_t row = 0; row < row_count(x.shape); ++row) {
      double squares = 0;
      for (int64_t i = row * extent; i < (row + 1) * extent; ++i) squares += number(x, i) * number(x, i);
      const double norm = std::max(std::sqrt(squares), epsilon);
      for (int64_t i = row * extent; i < (row + 1) * extent; ++i) {
        context.outputs[0].as<float>()[i] = static_cast<float>(number(x, i) / norm);
      }
    }
  });
}

}  // namespace bertie::reference
