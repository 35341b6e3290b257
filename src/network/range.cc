// start, start + step, ... below limit.
#include <algorithm>
#include <cmath>

#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_range(OpContext& context) {
  for (size_t input : {0, 1, 2}) {
    context.require(context.shape(input).size() <= 1, "scalars");
    context.require(context.dtype(input) == context.dtype(0), "start, limit and step of one dtype");
  }
  const auto start = context.elements(0);
  const auto limit = context.elements(1);
  const auto step = context.integers(2);
  Dim extent = unknown_dim(context.node().name, 0);
  if (start && limit && step && step->at(0) != 0) {
    const Dim distance = limit->at(0) - start->at(0);
    const int64_t stride = step->at(0);
    if (distance.is_fixed()) {
      const bool empty = stride > 0 ? distance.size <= 0 : distance.size >= 0;
      // Rounded up; written so that no number of a file's overflows.
      extent = empty ? Dim(0) : Dim((distance.size + (stride > 0 ? -1 : 1)) / stride) + Dim(1);
    } else if (stride == 1) {
      extent = distance;
    }
  }
  if (is_float(context.dtype(0))) {
    const auto first = context.number(0);
    const auto end = context.number(1);
    const auto stride = context.number(2);
    if (first && end && stride && *stride != 0) {
      const double count = std::ceil((*end - *first) / *stride);
      context.require(count < 1e15, "a number of elements that fits");  // NaN is none
      extent = Dim(count > 0 ? static_cast<int64_t>(count) : int64_t{0});
    }
  }
  context.output(widened(context.dtype(0)), {extent});
}

}  // namespace

const OpDescriptor& range_op() {
  static const OpDescriptor op{.name = "range",
                               .required_inputs = 3,
                               .inputs = {"start", "limit", "step"},
                               .attributes = {},
                               .infer = infer_range,
                               .reads_data = true};
  return op;
}

}  // namespace bertie
