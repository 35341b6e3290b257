// Parts of these sizes along an axis, or `parts` equal ones (the last smaller where they do not divide the axis).
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_split(OpContext& context) {
  const SymbolicShape& x = context.shape(0);
  const size_t axis = context.axis(context.node().integer("axis"), x.size());
  SymbolicShape sizes;
  if (context.has(1)) {
    const auto known = context.elements(1);
    if (!known) context.reject("sizes known before the run");
    sizes = *known;
    Dim sum(0);
    for (const Dim& size : sizes) sum = sum + size;
    if (sum.is_fixed() && x[axis].is_fixed()) context.require(sum == x[axis], "sizes that add up to the axis");
  } else {
    const int64_t parts = context.node().integer("parts");
    context.require(parts > 0, "sizes or a number of parts");
    if (x[axis].is_fixed()) {
      const int64_t each = (x[axis].size + parts - 1) / parts;
      for (int64_t i = 0; i < parts; ++i) sizes.emplace_back(std::min(each, std::max<int64_t>(x[axis].size - i * each, 0)));
    } else {
      const auto each = divide(x[axis], Dim(parts));
      for (int64_t i = 0; i < parts; ++i)
        sizes.push_back(each ? *each : unknown_dim(context.node().name, static_cast<size_t>(i)));
    }
  }
  const auto elements = x.size() == 1 ? context.elements(0) : std::nullopt;
  int64_t next = 0;
  for (const Dim& size : sizes) {
    SymbolicShape shape = x;
    shape[axis] = size;
    std::optional<SymbolicShape> own;
    if (elements && size.is_fixed()) own.emplace(elements->begin() + next, elements->begin() + next + size.size);
    if (size.is_fixed()) next += size.size;
    context.output(context.dtype(0), std::move(shape), std::move(own));
  }
}

}  // namespace

const OpDescriptor& split_op() {
  static const OpDescriptor op{"split", 1, {"x", "sizes"}, {"axis", "parts"}, infer_split};
  return op;
}

}  // namespace bertie
