// Over the axes named by a constant; none named: over all of them (or over none, where `noop_with_empty_axes` says so).
#include <algorithm>

#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

void infer_reduce(OpContext& context) {
  const std::string function = context.node().text("function");
  context.require_one_of("function", function,
                         {"mean", "sum", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "log_sum_exp"});
  const SymbolicShape& x = context.shape(0);
  std::vector<bool> reduced(x.size(), false);
  std::vector<int64_t> axes;
  if (context.has(1)) {
    const auto known = context.integers(1);
    if (!known) context.reject("axes known before the run");
    axes = *known;
  }
  for (int64_t axis : axes) reduced[context.axis(axis, x.size())] = true;
  if (axes.empty() && context.node().integer("noop_with_empty_axes") == 0) reduced.assign(x.size(), true);
  SymbolicShape shape;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!reduced[i]) {
      shape.push_back(x[i]);
    } else if (context.node().integer("keep_dims", 1) != 0) {
      shape.emplace_back(1);
    }
  }
  std::optional<SymbolicShape> elements;
  const auto known = context.elements(0);
  if (known && x.size() == 1 && reduced[0] && (function == "prod" || function == "sum")) {
    Dim total(function == "prod");
    for (const Dim& element : *known) total = function == "prod" ? total * element : total + element;
    elements = SymbolicShape{total};
  }
  context.output(widened(context.dtype(0)), std::move(shape), std::move(elements));
}

}  // namespace

const OpDescriptor& reduce_op() {
  static const OpDescriptor op{"reduce", 1, {"x", "axes"}, {"function", "keep_dims", "noop_with_empty_axes"}, infer_reduce};
  return op;
}

ValueId Network::add_reduce(std::string function, ValueId x, std::span<const int64_t> axes, bool keep_dims, std::string name) {
  return add_node("reduce", {x, add_integers(axes)}, {{"function", std::move(function)}, {"keep_dims", int64_t{keep_dims}}},
                  std::move(name))[0];
}

}  // namespace bertie
