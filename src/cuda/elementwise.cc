#include <iterator>

#include "cuda/numbers.h"
#include "cuda/ops.h"

namespace bertie::cuda {
namespace {

constexpr std::string_view kFunctions[] = {"add",        "sub",           "mul",  "div",   "pow",     "min",
                                           "max",        "mod",           "fmod", "equal", "greater", "greater_or_equal",
                                           "less",       "less_or_equal", "and",  "or",    "xor",     "bitwise_and",
                                           "bitwise_or", "bitwise_xor"};

class Elementwise final : public Step {
 public:
  Elementwise(Operands& operands, Binary function, Number number)
      : Step(operands, DType::f32),
        function_(function),
        number_(number),
        launcher_(device().launcher<ElementwiseParams>("elementwise")) {}

 protected:
  void enqueue(const KernelContext& context) const override {
    const Shape& shape = context.outputs[0].shape;
    ElementwiseParams params{};
    params.a = context.inputs[0].data;
    params.b = context.inputs[1].data;
    params.y = context.outputs[0].data;
    params.number = number_;
    params.function = function_;
    params.count = shape.elements();
    params.axes = shape.rank();
    std::copy(shape.begin(), shape.end(), params.extents);
    broadcast_strides(context.inputs[0].shape, shape, params.a_strides);
    broadcast_strides(context.inputs[1].shape, shape, params.b_strides);
    device().launch(launcher_, params, context.device->stream);
  }

 private:
  Binary function_;
  Number number_;
  Launcher<ElementwiseParams> launcher_;
};

}  // namespace

PrepareResult prepare_elementwise(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    const std::string function = request.node.text("function");
    const auto found = std::find(std::begin(kFunctions), std::end(kFunctions), function);
    if (found == std::end(kFunctions)) throw Refused{"no function " + function};
    want_number(operands, 0, "a");
    want_number(operands, 1, "b");
    const auto number = [&](size_t input, std::string_view name) {
      const DType dtype = operands.value(input).dtype;
      return dtype == DType::f16 || dtype == DType::bf16 ? Number::f32 : number_of(dtype, name);
    };
    if (number(0, "a") != number(1, "b")) throw Refused{"operands of two kinds"};
    const Number kind = number(0, "a");
    return Preparation{std::make_unique<Elementwise>(operands, static_cast<Binary>(found - std::begin(kFunctions)), kind),
                       "one element a thread"};
  });
}

}  // namespace bertie::cuda
