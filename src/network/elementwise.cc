// Functions of two tensors, with NumPy broadcasting. Comparisons and logic give bool; the rest give the dtype of their inputs, floats of
// any width f32. Integer add, sub, mul and div of known elements are known too, so that computed shapes stay readable.
#include <algorithm>

#include "network/dim.h"
#include "network/op.h"

namespace bertie {
namespace {

constexpr std::string_view kComparisons[] = {"equal", "greater", "greater_or_equal", "less", "less_or_equal"};
constexpr std::string_view kLogic[] = {"and", "or", "xor"};
constexpr std::string_view kBitwise[] = {"bitwise_and", "bitwise_or", "bitwise_xor"};

bool is_among(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether an element can only be 0 or more where it is a symbol: a product of extents, not a difference.
bool is_extent(const Dim& dim) { return dim.is_fixed() || dim.symbol.find('-') == std::string::npos; }

std::optional<Dim> apply(std::string_view function, const Dim& a, const Dim& b) {
  if (function == "add") return a + b;
  if (function == "sub") return a - b;
  if (function == "mul") return a * b;
  if (function == "equal") {  // a truth, 0 or 1; an extent is no negative number
    if (a == b || (a.is_fixed() && b.is_fixed())) return Dim(a == b);
    const bool negative = (a.is_fixed() && a.size < 0) || (b.is_fixed() && b.size < 0);
    return negative && is_extent(a) && is_extent(b) ? std::optional(Dim(0)) : std::nullopt;
  }
  if (function == "div" && !(b == Dim(0))) {
    if (a.is_fixed() && b.is_fixed()) return b.size == -1 ? Dim(0) - a : Dim(a.size / b.size);  // ONNX truncates towards zero
    return divide(a, b);
  }
  return std::nullopt;
}

std::optional<SymbolicShape> known_result(const OpContext& context, std::string_view function, const SymbolicShape& shape) {
  const auto a = context.elements(0);
  const auto b = context.elements(1);
  if (!a || !b || shape.size() > 1) return std::nullopt;
  SymbolicShape result;
  for (size_t i = 0; i < std::max(a->size(), b->size()); ++i) {
    const auto element = apply(function, (*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]);
    if (!element) return std::nullopt;
    result.push_back(*element);
  }
  return result;
}

void infer_elementwise(OpContext& context) {
  const std::string function = context.node().text("function");
  context.require_one_of("function", function, {"add",        "sub",           "mul",  "div",   "pow",     "min",
                                                "max",        "mod",           "fmod", "equal", "greater", "greater_or_equal",
                                                "less",       "less_or_equal", "and",  "or",    "xor",     "bitwise_and",
                                                "bitwise_or", "bitwise_xor"});
  const DType a = context.dtype(0);
  const DType b = context.dtype(1);
  const bool both_float = is_float(a) && is_float(b);
  context.require(both_float || a == b || function == "pow", "inputs of one dtype");
  if (is_among(kLogic, function)) context.require(a == DType::boolean, "bool inputs");
  if (is_among(kBitwise, function)) context.require(!is_float(a) && a != DType::boolean, "integer inputs");
  const auto shape = broadcast(context.shape(0), context.shape(1));
  if (!shape) context.reject("shapes that broadcast");
  const bool boolean = is_among(kComparisons, function) || is_among(kLogic, function);
  context.output(boolean ? DType::boolean : is_float(a) ? DType::f32 : a, *shape, known_result(context, function, *shape));
}

}  // namespace

const OpDescriptor& elementwise_op() {
  static const OpDescriptor op{"elementwise", 2, {"a", "b"}, {"function"}, infer_elementwise};
  return op;
}

ValueId Network::add_elementwise(std::string function, ValueId a, ValueId b, std::string name) {
  return add_node("elementwise", {a, b}, {{"function", std::move(function)}}, std::move(name))[0];
}

}  // namespace bertie
