// Functions of one tensor. Floats of any width give f32, from arithmetic in double; integers keep their dtype and wrap.
#include <algorithm>
#include <cmath>

#include "reference/elements.h"
#include "reference/ops.h"

namespace bertie::reference {
namespace {

struct Parametric {
  std::string_view name;
  double alpha, beta;  // ONNX's defaults
  double (*function)(double x, double alpha, double beta);
};
constexpr Parametric kParametric[] = {
    {"leaky_relu", 0.01, 0, [](double x, double alpha, double) { return x < 0 ? alpha * x : x; }},
    {"elu", 1, 0, [](double x, double alpha, double) { return x < 0 ? alpha * std::expm1(x) : x; }},
    {"celu", 1, 0,
     [](double x, double alpha, double) { return std::max(0.0, x) + std::min(0.0, alpha * std::expm1(x / alpha)); }},
    {"selu", 1.67326319217681884765625, 1.05070102214813232421875,
     [](double x, double alpha, double gamma) { return gamma * (x > 0 ? x : alpha * std::expm1(x)); }},
    {"thresholded_relu", 1, 0, [](double x, double alpha, double) { return x > alpha ? x : 0; }},
    {"hard_sigmoid", 0.2, 0.5, [](double x, double alpha, double beta) { return std::clamp(alpha * x + beta, 0.0, 1.0); }},
};

// result = function(number) for each element of a floating x.
template <typename Out, typename Function>
PrepareResult take_floats(Function function) {
  return take([function](const KernelContext& context) {
    const TensorView& x = context.inputs[0];
    Out* out = context.outputs[0].as<Out>();
    with_floats(x, [&](auto* xs) {
      for (int64_t i = 0; i < x.shape.elements(); ++i) out[i] = static_cast<Out>(function(static_cast<double>(widen(xs[i]))));
    });
  });
}

// Of int64_t, so that the narrower types wrap when the result is stored.
using IntegerFunction = int64_t (*)(int64_t);
IntegerFunction integer_function(std::string_view name) {
  if (name == "neg") return [](int64_t x) { return static_cast<int64_t>(uint64_t{0} - static_cast<uint64_t>(x)); };
  if (name == "abs") return [](int64_t x) { return x < 0 ? static_cast<int64_t>(uint64_t{0} - static_cast<uint64_t>(x)) : x; };
  if (name == "sign") return [](int64_t x) -> int64_t { return (x > 0) - (x < 0); };
  if (name == "relu") return [](int64_t x) { return std::max<int64_t>(x, 0); };
  if (name == "bitwise_not") return [](int64_t x) { return ~x; };
  if (name == "not") return [](int64_t x) -> int64_t { return x == 0; };
  fail(ErrorCode::unsupported, "reference: no integer function '{}'", name);
}

}  // namespace

PrepareResult prepare_unary(const KernelRequest& request) {
  const Node& node = request.node;
  const std::string name = node.text("function");
  if (name == "identity") return take([](const KernelContext& context) { copy_elements(context.inputs[0], context.outputs[0]); });
  if (!is_float(request.network.value(node.inputs[0]).dtype)) {
    return take([function = integer_function(name)](const KernelContext& context) {
      const TensorView& x = context.inputs[0];
      with_integer_type(x.dtype, [&](auto type) {
        using T = typename decltype(type)::type;
        for (int64_t i = 0; i < x.shape.elements(); ++i)
          context.outputs[0].as<T>()[i] = static_cast<T>(function(static_cast<int64_t>(x.as<T>()[i])));
      });
    });
  }
  if (name == "is_nan") return take_floats<uint8_t>([](double x) { return std::isnan(x); });
  if (name == "is_inf") {
    const bool positive = node.integer("detect_positive", 1) != 0;
    const bool negative = node.integer("detect_negative", 1) != 0;
    return take_floats<uint8_t>([=](double x) { return std::isinf(x) && (x > 0 ? positive : negative); });
  }
  for (const Parametric& parametric : kParametric) {
    if (parametric.name != name) continue;
    return take_floats<float>([function = parametric.function, alpha = node.real("alpha", parametric.alpha),
                               beta = node.real("beta", parametric.beta)](double x) { return function(x, alpha, beta); });
  }
  const ScalarFunction function = scalar_function(name);
  if (!function) fail(ErrorCode::unsupported, "reference: no function '{}'", name);
  return take_floats<float>(function);
}

}  // namespace bertie::reference
