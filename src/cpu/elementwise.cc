#include <algorithm>
#include <optional>

#include "cpu/batch_offsets.h"
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

// Any broadcasting in which the last axis of an operand is the result's or 1: planes of rows, each operand at its own place.
class BroadcastElementwise final : public Kernel {
 public:
  explicit BroadcastElementwise(BinaryFunction function) : kernels_(*active_isa().kernels), function_(function) {}

  void run(const KernelContext& context) const override {
    const MutableTensorView& out = context.outputs[0];
    if (out.shape.elements() == 0) return;
    const int rank = out.shape.rank();
    const int64_t extent = rank < 1 ? 1 : out.shape.back(), rows = rank < 2 ? 1 : out.shape[rank - 2];
    const Side a(context.inputs[0], out.shape), b(context.inputs[1], out.shape);
    for_row_pieces(context.pool, out.shape.elements() / extent, extent, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t plane = begin / rows, first = begin % rows, last = std::min(rows, first + end - begin);
        const BinaryRows body{function_, a.at(plane), b.at(plane), out.as<float>() + plane * rows * extent, extent};
        kernels_.elementwise(body, first, last);
        begin += last - first;
      }
    });
  }

 private:
  struct Side {
    Side(const TensorView& view, const Shape& result)
        : data(view.as<float>()), offsets(view.shape, result, 2), scalar(view.shape.rank() < 1 || view.shape.back() == 1) {
      const int64_t width = view.shape.rank() < 1 ? 1 : view.shape.back();
      const int64_t height = view.shape.rank() < 2 ? 1 : view.shape[view.shape.rank() - 2];
      plane = height * width;
      row_stride = height == 1 ? 0 : width;
    }
    BinaryRows::Operand at(int64_t index) const { return {data + offsets(index) * plane, row_stride, scalar}; }
    const float* data;
    BatchOffsets offsets;
    bool scalar;
    int64_t plane, row_stride;
  };

  const IsaKernels& kernels_;
  BinaryFunction function_;
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

// nullopt: in another way.
std::optional<Spread> spread(const SymbolicShape& shape, const SymbolicShape& result) {
  if (shape == result) return Spread::same;
  const bool ones_before_last =
      std::all_of(shape.begin(), shape.empty() ? shape.end() : shape.end() - 1, [](const Dim& dim) { return dim == Dim(1); });
  if (ones_before_last && (shape.empty() || shape.back() == Dim(1))) return Spread::scalar;
  if (ones_before_last && shape.back() == result.back()) return Spread::each_row;
  return std::nullopt;
}

}  // namespace

PrepareResult prepare_elementwise(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    operands.require_f32(0, "a");
    operands.require_f32(1, "b");
    const SymbolicShape& result = request.network.value(request.node.outputs[0]).shape;
    const BinaryFunction function = binary_function(request.node.text("function"));
    const auto a = spread(operands.value(0).shape, result), b = spread(operands.value(1).shape, result);
    if (a && b) return Preparation{std::make_unique<Elementwise>(function, *a, *b), "sixteen elements at a time"};
    for (size_t input : {0, 1}) {
      const SymbolicShape& shape = operands.value(input).shape;
      if (!shape.empty() && !(shape.back() == Dim(1)) && !(shape.back() == result.back()))
        throw Refused{"broadcasts " + to_string(shape) + " to " + to_string(result)};
    }
    return Preparation{std::make_unique<BroadcastElementwise>(function), "broadcast by rows, sixteen elements at a time"};
  });
}

}  // namespace bertie::cpu
