// Functions of one tensor. Some have parameters: `alpha` and `beta`, with ONNX's defaults (selu's gamma is `beta`); is_inf can be told
// to look for one sign alone.
#include <algorithm>
#include <limits>

#include "network/dim.h"
#include "network/op.h"

namespace bertie {

namespace {

void infer_unary(OpContext& context) {
  const std::string function = context.node().text("function");
  context.require_one_of("function", function,
                         {"identity",     "relu",       "silu",       "tanh",        "sigmoid", "softplus",   "softsign",
                          "mish",         "hard_swish", "leaky_relu", "elu",         "celu",    "selu",       "thresholded_relu",
                          "hard_sigmoid", "erf",        "exp",        "log",         "sqrt",    "reciprocal", "sin",
                          "cos",          "tan",        "asin",       "acos",        "atan",    "sinh",       "cosh",
                          "asinh",        "acosh",      "atanh",      "neg",         "abs",     "sign",       "floor",
                          "ceil",         "round",      "not",        "bitwise_not", "is_nan",  "is_inf"});
  const DType x = context.dtype(0);
  if (function == "not") {
    context.require(x == DType::boolean, "a bool x");
  } else if (function == "bitwise_not") {
    context.require(!is_float(x) && x != DType::boolean, "an integer x");
  } else if (function == "neg" || function == "abs" || function == "sign" || function == "relu") {
    context.require(x != DType::boolean, "an x that is a number");
  } else if (function != "identity") {
    context.require_float(0);
  }
  const bool kept = function == "identity" || function == "neg" || function == "not";
  std::optional<SymbolicShape> elements = kept ? context.elements(0) : std::nullopt;
  const auto has_no_negative = [](const Dim& element) { return element == Dim(std::numeric_limits<int64_t>::min()); };
  if (elements && function == "neg" && std::any_of(elements->begin(), elements->end(), has_no_negative)) elements.reset();
  if (elements && function != "identity") {
    // "not": known truths, see elementwise's "equal"
    for (Dim& element : *elements) element = function == "neg" ? Dim(0) - element : Dim(element == Dim(0));
  }
  context.output(function == "is_nan" || function == "is_inf" ? DType::boolean : widened(x), context.shape(0),
                 std::move(elements));
}

}  // namespace

const OpDescriptor& unary_op() {
  static const OpDescriptor op{
      "unary", 1, {"x"}, {"function", "alpha", "beta", "detect_positive", "detect_negative"}, infer_unary};
  return op;
}

ValueId Network::add_unary(std::string function, ValueId x, std::string name) {
  return add_node("unary", {x}, {{"function", std::move(function)}}, std::move(name))[0];
}

}  // namespace bertie
