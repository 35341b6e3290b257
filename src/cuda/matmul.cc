// matmul: batched products of two operands that the run makes, by cuBLASLt.
#include "backend/batch_shape.h"
#include "cuda/copy_step.h"
#include "cuda/numbers.h"
#include "cuda/ops.h"
#include "cuda/products.h"

namespace bertie::cuda {
namespace {

// The leading axes of an operand's rows and columns.
int64_t matrices_of(const Shape& shape) { return row_count(shape) == 0 ? 0 : row_count(shape) / shape[shape.rank() - 2]; }

// The shape of an operand that stands once for each of the result's matrices.
Shape repeated(const Shape& operand, const Shape& result) {
  std::vector<int64_t> extents(result.begin(), result.end());
  extents[extents.size() - 2] = operand[operand.rank() - 2];
  extents.back() = operand.back();
  return Shape(std::span<const int64_t>(extents));
}

// Whether an operand's matrices are not the result's one by one, nor one for all.
bool must_repeat(const Shape& operand, int64_t matrices) {
  const int64_t own = matrices_of(operand);
  return own != matrices && own != 1;
}

Shape result_of(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::vector<int64_t> extents(static_cast<size_t>(rank));
  for (int axis = 0; axis + 2 < rank; ++axis) {
    const int at_a = axis - (rank - a.rank()), at_b = axis - (rank - b.rank());
    const int64_t of_a = at_a < 0 ? 1 : a[at_a], of_b = at_b < 0 ? 1 : b[at_b];
    extents[static_cast<size_t>(axis)] = of_a == 1 ? of_b : of_a;
  }
  extents[extents.size() - 2] = a[a.rank() - 2];
  extents.back() = b.back();
  return Shape(std::span<const int64_t>(extents));
}

class Matmul final : public CopyStep {
 public:
  explicit Matmul(Operands& operands)
      : CopyStep(operands, operands.computed()),
        element_(operands.computed()),
        tf32_(operands.tf32()),
        shapes_{operands.value(0).shape, operands.value(1).shape} {}

 protected:
  size_t own_workspace_bytes(const BatchLimits& limits) const override {
    return workspace_for(shape_in(limits, shapes_[0]), shape_in(limits, shapes_[1]));
  }
  size_t own_run_workspace_bytes(const BatchLimits&, std::span<const TensorView> inputs) const override {
    return workspace_for(inputs[0].shape, inputs[1].shape);
  }

  void enqueue(const KernelContext& context) const override {
    const MutableTensorView& y = context.outputs[0];
    const Shape& a = context.inputs[0].shape;
    const Shape& b = context.inputs[1].shape;
    if (y.shape.elements() == 0) return;
    BertieCudaProduct product{};
    product.element = product.result = static_cast<int32_t>(element_of(element_));
    product.tf32 = tf32_;
    product.m = a[a.rank() - 2];
    product.k = a.back();
    product.n = b.back();
    if (product.k == 0) return context.device->stream.fill(y.data, 0, TensorView(y).bytes());
    std::span<std::byte> workspace = context.workspace;
    const void* operands[2];
    int64_t matrices = matrices_of(y.shape), strides[2];
    for (size_t i = 0; i < 2; ++i) {
      const TensorView& operand = context.inputs[i];
      operands[i] = operand.data;
      const int64_t elements = operand.shape.back() * operand.shape[operand.shape.rank() - 2];
      strides[i] = matrices_of(operand.shape) == 1 ? 0 : elements;
      if (!must_repeat(operand.shape, matrices)) continue;
      const Shape whole = repeated(operand.shape, y.shape);
      Strides from{};
      broadcast_strides(operand.shape, whole, from.data());
      copy(*context.device, operand.data, from, workspace.data(), row_major_strides(whole), whole, dtype_size(element_));
      operands[i] = workspace.data();
      workspace = workspace.subspan(aligned(static_cast<size_t>(whole.elements()) * dtype_size(element_)));
    }
    if (strides[1] == 0 && strides[0] != 0) {  // one b for all: their rows are one matrix
      product.m *= matrices;
      matrices = 1;
    }
    product.batch = static_cast<int32_t>(matrices);
    product.a_stride = strides[0];
    product.b_stride = strides[1];
    product.d_stride = product.m * product.n;
    BertieCudaOperands given{};
    given.a = operands[0];
    given.b = operands[1];
    given.d = y.data;
    given.workspace = workspace.data();
    given.workspace_bytes = kProductWorkspace;
    device().check(device().api().run_product(device().index(), &product, &given, context.device->stream.handle()),
                   "a matrix product");
  }

 private:
  size_t workspace_for(const Shape& a, const Shape& b) const {
    const Shape result = result_of(a, b);
    size_t bytes = kProductWorkspace;
    for (const Shape* operand : {&a, &b}) {
      if (must_repeat(*operand, matrices_of(result)))
        bytes += aligned(static_cast<size_t>(repeated(*operand, result).elements()) * dtype_size(element_));
    }
    return bytes;
  }

  DType element_;
  bool tf32_;
  SymbolicShape shapes_[2];
};

}  // namespace

PrepareResult prepare_matmul(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    Operands operands(request);
    operands.want(0, operands.computed(), "a");
    operands.want(1, operands.computed(), "b");
    const SymbolicShape &a = operands.value(0).shape, &b = operands.value(1).shape;
    if (a.size() < 2 || b.size() < 2) throw Refused{"a vector"};
    const char* reason = operands.tf32() ? "cuBLASLt, f32 rounded to tf32" : "cuBLASLt, sums in f32";
    return Preparation{std::make_unique<Matmul>(operands), reason};
  });
}

}  // namespace bertie::cuda
