// ONNX Reshape: 0 keeps an extent (unless `allow_zero`), -1 takes what is left.
#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

// Elements keep their order, so what is known of them stays known.
std::optional<SymbolicShape> kept_elements(const OpContext& context, const SymbolicShape& shape) {
  return shape.size() <= 1 ? context.elements(0) : std::nullopt;
}

void infer_reshape(OpContext& context) {
  context.require_index(1);
  context.require_rank(1, 1);
  const SymbolicShape& x = context.shape(0);
  const auto wanted = context.elements(1);
  if (!wanted) {
    // The rank is known where the shape's length is; the extents are the run's.
    const Dim& rank = context.shape(1)[0];
    if (!rank.is_fixed()) context.reject("a shape of known length");
    SymbolicShape shape;
    for (int64_t i = 0; i < rank.size; ++i) shape.push_back(unknown_dim(context.node().name, static_cast<size_t>(i)));
    context.output(context.dtype(0), std::move(shape));
    return;
  }
  SymbolicShape shape;
  std::optional<size_t> rest;
  for (size_t i = 0; i < wanted->size(); ++i) {
    Dim dim = (*wanted)[i];
    if (dim == Dim(0) && context.node().integer("allow_zero") == 0) {
      context.require(i < x.size(), "a 0 only where x has an axis to keep");
      dim = x[i];
    } else if (dim == Dim(-1)) {
      context.require(!rest, "one -1 at most");
      rest = i;
      dim = Dim(1);
    } else if (dim.is_fixed() && dim.size < 0) {
      context.reject("extents of 0 or more, or -1");
    }
    shape.push_back(dim);
  }
  const Dim all = elements_of(x);
  const Dim given = elements_of(shape);
  if (rest) {
    const bool empty = given == Dim(0);
    const auto left = empty ? std::nullopt : divide(all, given);
    if (!left && all.is_fixed() && given.is_fixed())
      context.reject(fmt::format("{} elements to fit {}", all.size, to_string(*wanted)));
    shape[*rest] = left ? *left : unknown_dim(context.node().name, *rest);
  } else if (all.is_fixed() && given.is_fixed() && !(all == given)) {
    context.reject(fmt::format("{} elements to fit {}", all.size, to_string(*wanted)));
  }
  auto elements = kept_elements(context, shape);
  context.output(context.dtype(0), std::move(shape), std::move(elements));
}

}  // namespace

const OpDescriptor& reshape_op() {
  static const OpDescriptor op{"reshape", 2, {"x", "shape"}, {"allow_zero"}, infer_reshape};
  return op;
}

ValueId Network::add_reshape(ValueId x, std::span<const int64_t> shape, std::string name) {
  return add_node("reshape", {x, add_integers(shape)}, {}, std::move(name))[0];
}

}  // namespace bertie
