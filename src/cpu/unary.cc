// unary and gelu: one pass over the elements.
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

class Unary final : public Kernel {
 public:
  explicit Unary(UnaryFunction function) : kernels_(*active_isa().kernels), function_(function) {}

  void run(const KernelContext& context) const override {
    const float* x = context.inputs[0].as<float>();
    float* out = context.outputs[0].as<float>();
    for_row_pieces(context.pool, context.inputs[0].shape.elements(), 1,
                   [&](int64_t begin, int64_t end) { kernels_.unary(function_, x + begin, out + begin, end - begin); });
  }

 private:
  const IsaKernels& kernels_;
  UnaryFunction function_;
};

UnaryFunction unary_function(const std::string& name) {
  static constexpr struct {
    std::string_view name;
    UnaryFunction function;
  } kFunctions[] = {
      {"relu", UnaryFunction::relu}, {"silu", UnaryFunction::silu},
      {"tanh", UnaryFunction::tanh}, {"sigmoid", UnaryFunction::sigmoid},
      {"erf", UnaryFunction::erf},   {"exp", UnaryFunction::exp},
      {"sqrt", UnaryFunction::sqrt}, {"reciprocal", UnaryFunction::reciprocal},
      {"neg", UnaryFunction::neg},   {"abs", UnaryFunction::abs},
  };
  for (const auto& entry : kFunctions) {
    if (entry.name == name) return entry.function;
  }
  throw Refused{"no vectorised " + name};
}

PrepareResult prepare_unary_kernel(const KernelRequest& request, UnaryFunction function) {
  Operands(request).require_f32(0, "x");
  return Preparation{std::make_unique<Unary>(function), "sixteen elements at a time"};
}

}  // namespace

PrepareResult prepare_unary(const KernelRequest& request) {
  return prepare_or_refuse([&] { return prepare_unary_kernel(request, unary_function(request.node.text("function"))); });
}

PrepareResult prepare_gelu(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const bool exact = request.node.text("approximate", "none") == "none";
    return prepare_unary_kernel(request, exact ? UnaryFunction::gelu : UnaryFunction::gelu_tanh);
  });
}

}  // namespace bertie::cpu
