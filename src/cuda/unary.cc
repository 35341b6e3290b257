#include <iterator>

#include "cuda/numbers.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

// Those with parameters stand with ONNX's defaults of them.
struct Function {
  std::string_view name;
  float alpha = 0, beta = 0;
};
constexpr Function kFunctions[] = {{"identity"},
                                   {"relu"},
                                   {"silu"},
                                   {"tanh"},
                                   {"sigmoid"},
                                   {"softplus"},
                                   {"softsign"},
                                   {"mish"},
                                   {"hard_swish"},
                                   {"erf"},
                                   {"exp"},
                                   {"log"},
                                   {"sqrt"},
                                   {"reciprocal"},
                                   {"sin"},
                                   {"cos"},
                                   {"tan"},
                                   {"asin"},
                                   {"acos"},
                                   {"atan"},
                                   {"sinh"},
                                   {"cosh"},
                                   {"asinh"},
                                   {"acosh"},
                                   {"atanh"},
                                   {"neg"},
                                   {"abs"},
                                   {"sign"},
                                   {"floor"},
                                   {"ceil"},
                                   {"round"},
                                   {"leaky_relu", 0.01f},
                                   {"elu", 1},
                                   {"celu", 1},
                                   {"selu", 1.67326319217681884765625f, 1.05070102214813232421875f},
                                   {"thresholded_relu", 1},
                                   {"hard_sigmoid", 0.2f, 0.5f},
                                   {"is_nan"},
                                   {"is_inf"},
                                   {"bitwise_not"},
                                   {"not"}};

class UnaryStep final : public Step {
 public:
  UnaryStep(Operands& operands, const UnaryParams& params)
      : Step(operands, DType::f32), params_(params), launcher_(device().launcher<UnaryParams>("unary")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    UnaryParams params = params_;
    params.x = context.inputs[0].data;
    params.y = context.outputs[0].data;
    params.count = context.outputs[0].shape.elements();
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  UnaryParams params_;
  Launcher<UnaryParams> launcher_;
};

}  // namespace

PrepareResult prepare_unary(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const Node& node = request.node;
    const std::string name = node.text("function");
    const auto found = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                    [&](const Function& function) { return function.name == name; });
    if (found == std::end(kFunctions)) throw Refused{"no function " + name};
    want_number(operands, 0, "x");
    const DType dtype = operands.value(0).dtype;
    UnaryParams params{};
    params.number = dtype == DType::f16 || dtype == DType::bf16 ? Number::f32 : number_of(dtype, "x");
    params.function = static_cast<Unary>(found - std::begin(kFunctions));
    params.alpha = static_cast<float>(node.real("alpha", found->alpha));
    params.beta = static_cast<float>(node.real("beta", found->beta));
    params.positive = node.integer("detect_positive", 1) != 0;
    params.negative = node.integer("detect_negative", 1) != 0;
    return Preparation{std::make_unique<UnaryStep>(operands, params), "one element a thread"};
  });
}

}  // namespace bertie::cuda
