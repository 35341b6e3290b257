#include "network/op.h"

namespace bertie {
namespace {

// NumPy's rule; a symbol fits itself and 1.
SymbolicShape broadcast(const OpContext& context) {
  const SymbolicShape& a = context.shape(0);
  const SymbolicShape& b = context.shape(1);
  SymbolicShape result(std::max(a.size(), b.size()), Dim(1));
  for (size_t i = 0; i < result.size(); ++i) {
    const Dim x = i < a.size() ? a[a.size() - 1 - i] : Dim(1);
    const Dim y = i < b.size() ? b[b.size() - 1 - i] : Dim(1);
    if (!(x == y) && !(x == Dim(1)) && !(y == Dim(1))) context.reject("shapes that broadcast");
    result[result.size() - 1 - i] = x == Dim(1) ? y : x;
  }
  return result;
}

}  // namespace

const OpDescriptor& elementwise_op() {
  static const OpDescriptor op{"elementwise", 2, {"a", "b"}, {"function"}, [](OpContext& context) {
                                 context.require_float(0);
                                 context.require_float(1);
                                 context.require_one_of("function", context.node().text("function"),
                                                        {"add", "sub", "mul", "div", "pow", "min", "max"});
                                 context.output(DType::f32, broadcast(context));
                               }};
  return op;
}

ValueId Network::add_elementwise(std::string function, ValueId a, ValueId b, std::string name) {
  return add_node("elementwise", {a, b}, {{"function", std::move(function)}}, std::move(name))[0];
}

}  // namespace bertie
