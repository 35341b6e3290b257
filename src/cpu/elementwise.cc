#include <algorithm>

#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

// How an operand meets the result [rows, extent].
enum class Spread { same, each_row, scalar };

class Elementwise final : public Kernel {
 public:
  Elementwise(BinaryFunction function, Spread a, Spread b) : kernels_(*active_isa().kernels), function_(function), a_(a), b_(b) {}

  void run(const KernelContext& context) const override {
    const MutableTensorView& out = context.outputs[0];
    // Rows matter only where an operand repeats on each; else they are cut where it suits the threads.
    const bool whole_rows = a_ == Spread::each_row || b_ == Spread::each_row;
    const int64_t elements = out.shape.elements();
    const int64_t extent = whole_rows ? out.shape.back() : 1024;
    const int64_t rows = extent == 0 ? 0 : elements / extent;
    const auto operand = [&](const TensorView& view, Spread spread) {
      return BinaryRows::Operand{view.as<float>(), spread == Spread::same ? extent : 0, spread == Spread::scalar};
    };
    const BinaryRows body{function_, operand(context.inputs[0], a_), operand(context.inputs[1], b_), out.as<float>(), extent};
    for_row_pieces(context.pool, rows, extent, [&](int64_t begin, int64_t end) { kernels_.elementwise(body, begin, end); });
    const int64_t done = rows * extent;
    if (done == elements) return;
    BinaryRows tail = body;
    if (a_ == Spread::same) tail.a.data += done;
    if (b_ == Spread::same) tail.b.data += done;
    tail.out += done;
    tail.extent = elements - done;
    kernels_.elementwise(tail, 0, 1);
  }

 private:
  const IsaKernels& kernels_;
  BinaryFunction function_;
  Spread a_, b_;
};

BinaryFunction binary_function(const std::string& name) {
  if (name == "add") return BinaryFunction::add;
  if (name == "sub") return BinaryFunction::sub;
  if (name == "mul") return BinaryFunction::mul;
  if (name == "div") return BinaryFunction::div;
  if (name == "min") return BinaryFunction::min;
  if (name == "max") return BinaryFunction::max;
  throw Refused{"no vectorised " + name};
}

Spread spread(const SymbolicShape& shape, const SymbolicShape& result) {
  if (shape == result) return Spread::same;
  const bool ones_before_last =
      std::all_of(shape.begin(), shape.empty() ? shape.end() : shape.end() - 1, [](const Dim& dim) { return dim == Dim(1); });
  if (ones_before_last && (shape.empty() || shape.back() == Dim(1))) return Spread::scalar;
  if (ones_before_last && shape.back() == result.back()) return Spread::each_row;
  throw Refused{"broadcasts " + to_string(shape) + " to " + to_string(result)};
}

}  // namespace

PrepareResult prepare_elementwise(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    operands.require_f32(0, "a");
    operands.require_f32(1, "b");
    const SymbolicShape& result = request.network.value(request.node.outputs[0]).shape;
    return Preparation{
        std::make_unique<Elementwise>(binary_function(request.node.text("function")), spread(operands.value(0).shape, result),
                                      spread(operands.value(1).shape, result)),
        "sixteen elements at a time"};
  });
}

}  // namespace bertie::cpu
