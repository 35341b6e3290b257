// Batched products of two operands that the run makes: the GEMM of `linear`, b's panels packed block by block. Each sum in the order of
// kernels/gemm.h, whatever the batch.
#include "cpu/batch_offsets.h"
#include "cpu/gemm.h"
#include "cpu/isa.h"
#include "cpu/operands.h"
#include "cpu/ops.h"

namespace bertie::cpu {
namespace {

int64_t matrices_of(const Shape& shape) {
  int64_t count = 1;
  for (int axis = 0; axis + 2 < shape.rank(); ++axis) count *= shape[axis];
  return count;
}

class Matmul final : public Kernel {
 public:
  void run(const KernelContext& context) const override {
    const TensorView& a = context.inputs[0];
    const TensorView& b = context.inputs[1];
    const MutableTensorView& out = context.outputs[0];
    const int64_t depth = a.shape.back(), columns = b.shape.back();
    int64_t rows = a.shape[a.shape.rank() - 2], matrices = matrices_of(out.shape);
    if (matrices_of(b.shape) == 1 && matrices_of(a.shape) == matrices) {  // one b for all: their rows are one matrix
      rows *= matrices;
      matrices = matrices == 0 ? 0 : 1;
    }
    const BatchOffsets of_a(a.shape, out.shape, 2), of_b(b.shape, out.shape, 2);
    // Many products share the threads as they are; few are cut up themselves.
    const int threads = context.pool.threads();
    const GemmPlan plan = plan_gemm(gemm_tiles(kernels_), rows, columns, depth, matrices >= 4 * threads ? 1 : threads);
    const int64_t each = plan.row_chunks * plan.column_chunks, panels = panel_count(columns);
    const size_t scratch_bytes = kernels_.gemm_scratch_bytes({});
    context.pool.parallel_for(matrices * each, [&](int64_t task, int worker) {
      const int64_t matrix = task / each, row_chunk = task % plan.row_chunks, column_chunk = task % each / plan.row_chunks;
      GemmProblem problem = {};
      problem.a = a.as<float>() + of_a(matrix) * rows * depth;
      problem.a_stride = depth;
      problem.weight = {b.as<float>() + of_b(matrix) * depth * columns, FloatType::f32, columns, depth, true};
      problem.c = out.as<float>() + matrix * rows * columns;
      problem.c_stride = columns;
      const GemmRange range = {rows * row_chunk / plan.row_chunks, rows * (row_chunk + 1) / plan.row_chunks,
                               column_chunk * plan.chunk_panels, std::min(panels, (column_chunk + 1) * plan.chunk_panels)};
      kernels_.gemm(problem, range, context.workspace.data() + scratch_bytes * static_cast<size_t>(worker));
    });
  }

  size_t workspace_bytes(const BatchLimits&, int threads) const override { return gemm_scratch_bytes(kernels_, {}, threads); }

 private:
  const IsaKernels& kernels_ = *active_isa().kernels;
};

}  // namespace

PrepareResult prepare_matmul(const KernelRequest& request) {
  return prepare_or_refuse([&] {
    const Operands operands(request);
    operands.require_f32(0, "a");
    operands.require_f32(1, "b");
    if (operands.value(0).shape.size() < 2 || operands.value(1).shape.size() < 2) throw Refused{"a vector"};
    return Preparation{std::make_unique<Matmul>(), "b packed block by block in panels of 16 columns"};
  });
}

}  // namespace bertie::cpu
