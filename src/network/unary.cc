#include "network/dim.h"
#include "network/op.h"

namespace bertie {

const OpDescriptor& unary_op() {
  static const OpDescriptor op{
      "unary", 1, {"x"}, {"function"}, [](OpContext& context) {
        const std::string function = context.node().text("function");
        context.require_one_of(
            "function", function,
            {"identity", "relu", "silu", "tanh", "sigmoid", "softplus", "erf",  "exp",   "log", "sqrt",  "reciprocal",
             "sin",      "cos",  "neg",  "abs",  "sign",    "floor",    "ceil", "round", "not", "is_nan"});
        const DType x = context.dtype(0);
        if (function == "not") {
          context.require(x == DType::boolean, "a bool x");
        } else if (function != "identity" && function != "neg" && function != "abs" && function != "sign" && function != "relu") {
          context.require_float(0);
        }
        const DType result = function == "is_nan" ? DType::boolean : is_float(x) ? DType::f32 : x;
        auto elements = function == "identity" || function == "neg" ? context.elements(0) : std::nullopt;
        if (elements && function == "neg") {
          for (Dim& element : *elements) element = Dim(0) - element;
        }
        context.output(result, context.shape(0), std::move(elements));
      }};
  return op;
}

ValueId Network::add_unary(std::string function, ValueId x, std::string name) {
  return add_node("unary", {x}, {{"function", std::move(function)}}, std::move(name))[0];
}

}  // namespace bertie
