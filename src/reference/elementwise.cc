#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "reference/kernel.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

using BinaryFunction = double (*)(double, double);

BinaryFunction binary_function(std::string_view name) {
  if (name == "add") return [](double a, double b) { return a + b; };
  if (name == "sub") return [](double a, double b) { return a - b; };
  if (name == "mul") return [](double a, double b) { return a * b; };
  if (name == "div") return [](double a, double b) { return a / b; };
  if (name == "pow") return [](double a, double b) { return std::pow(a, b); };
  if (name == "min") return [](double a, double b) { return std::isnan(b) || b < a ? b : a; };
  if (name == "max") return [](double a, double b) { return std::isnan(b) || b > a ? b : a; };
  fail(ErrorCode::unsupported, "reference: no elementwise function '{}'", name);
}

// Where element `index` of a tensor of shape `result` comes from in an operand of shape `shape` (NumPy's broadcasting).
int64_t source_index(const Shape& shape, const Shape& result, int64_t index) {
  int64_t source = 0;
  int64_t stride = 1;
  for (int axis = 1; axis <= shape.rank(); ++axis) {
    const int64_t extent = shape[shape.rank() - axis];
    const int64_t result_extent = result[result.rank() - axis];
    if (extent != 1) source += index % result_extent * stride;
    stride *= extent;
    index /= result_extent;
  }
  return source;
}

}  // namespace

PrepareResult prepare_elementwise(const KernelRequest& request) {
  if (!gives_f32(request)) return Refusal{"only floats are computed"};
  return take([function = binary_function(request.node.text("function"))](const KernelContext& context) {
    const TensorView& a = context.inputs[0];
    const TensorView& b = context.inputs[1];
    const Shape& result = context.outputs[0].shape;
    for (int64_t i = 0; i < result.elements(); ++i) {
      const double x = number(a, source_index(a.shape, result, i));
      const double y = number(b, source_index(b.shape, result, i));
      context.outputs[0].as<float>()[i] = static_cast<float>(function(x, y));
    }
  });
}

}  // namespace bertie::reference
