// permutation[i] is the axis of x that becomes axis i; none given: the axes reversed.
#include <algorithm>

#include "network/op.h"

namespace bertie {
namespace {

void infer_transpose(OpContext& context) {
  const SymbolicShape& x = context.shape(0);
  const std::vector<int64_t> permutation = context.node().integers("permutation");
  SymbolicShape shape(x.rbegin(), x.rend());
  if (!permutation.empty() || context.node().attributes.contains("permutation")) {
    std::vector<int64_t> sorted = permutation;
    std::sort(sorted.begin(), sorted.end());
    bool whole = sorted.size() == x.size();
    for (size_t i = 0; whole && i < sorted.size(); ++i) whole = sorted[i] == static_cast<int64_t>(i);
    context.require(whole, fmt::format("a permutation of {} axes", x.size()));
    for (size_t i = 0; i < x.size(); ++i) shape[i] = x[static_cast<size_t>(permutation[i])];
  }
  context.output(context.dtype(0), std::move(shape));
}

}  // namespace

const OpDescriptor& transpose_op() {
  static const OpDescriptor op{"transpose", 1, {"x"}, {"permutation"}, infer_transpose};
  return op;
}

ValueId Network::add_transpose(ValueId x, std::vector<int64_t> permutation, std::string name) {
  return add_node("transpose", {x}, {{"permutation", std::move(permutation)}}, std::move(name))[0];
}

}  // namespace bertie
