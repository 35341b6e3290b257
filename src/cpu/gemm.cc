#include "cpu/gemm.h"

#include <algorithm>
#include <atomic>

#include "cpu/operands.h"

namespace bertie::cpu {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

GemmPlan plan_gemm(const GemmTiles& tiles, int64_t rows, int64_t columns, int64_t k, int threads) {
  constexpr int64_t kChunkPanels = 64;       // 1024 columns: rows of A, once fetched, serve all of them
  constexpr int64_t kTaskCost = 16000;       // in vector multiply-adds: about 5 us, several times the cost of a fork
  constexpr int64_t kRowsPerWeightRead = 4;  // with fewer rows the time goes into reading weights
  GemmPlan plan;
  if (rows <= 0 || columns <= 0) return plan;
  const int64_t panels = panel_count(columns);
  plan.row_chunks = divide_up(rows, tiles.rows);
  const int64_t cost = std::max(rows, kRowsPerWeightRead) * panels * std::max<int64_t>(k, 1);
  const int64_t wanted = threads == 1 ? 1 : std::clamp<int64_t>(cost / kTaskCost, 1, threads * tiles.ranges_per_thread(rows, k));
  const int64_t chunks = std::min(panels, std::max(divide_up(panels, kChunkPanels), divide_up(wanted, plan.row_chunks)));
  // Whole tiles where there are enough of them for the chunks to come out alike.
  const int64_t at_once = tiles.panels(divide_up(rows, plan.row_chunks));
  const int64_t groups = divide_up(panels, at_once);
  plan.chunk_panels =
      groups % chunks == 0 || groups >= 4 * chunks ? divide_up(groups, chunks) * at_once : divide_up(panels, chunks);
  plan.column_chunks = divide_up(panels, plan.chunk_panels);
  return plan;
}

size_t gemm_scratch_bytes(const IsaKernels& kernels, const GemmProblem& problem, int threads) {
  return kernels.gemm_scratch_bytes(problem) * static_cast<size_t>(threads);
}

void run_gemm(const IsaKernels& kernels, GemmProblem problem, int64_t rows, ThreadPool& pool, std::span<std::byte> scratch) {
  static std::atomic<uint64_t> runs = 0;
  problem.run = ++runs;
  const GemmPlan plan = plan_gemm(gemm_tiles(kernels), rows, problem.weight.n, problem.weight.k, pool.threads());
  const size_t bytes = kernels.gemm_scratch_bytes(problem);
  run_plan(plan, rows, problem.weight.n, pool, [&](const GemmRange& range, int worker) {
    kernels.gemm(problem, range, scratch.data() + bytes * static_cast<size_t>(worker));
  });
}

PackedWeight::PackedWeight(const IsaKernels& kernels, const Tensor& tensor, ThreadPool& pool)
    : pages_(panel_bytes(tensor.dtype, tensor.shape), tensor.shape) {
  const GemmWeight weight = gemm_weight(tensor);
  const int64_t panels = panel_count(weight.n), stride = weight.k * kGemmPanel;
  constexpr int64_t kAtOnce = 4;
  pool.parallel_for(divide_up(panels, kAtOnce), [&](int64_t task, int) {
    const int64_t begin = task * kAtOnce, end = std::min(panels, begin + kAtOnce);
    if (weight.type != FloatType::f32)
      return kernels.pack_half_panels(weight, begin, end, static_cast<uint16_t*>(pages_.data()) + begin * stride);
    kernels.pack_panels(weight, begin, end, 0, weight.k, static_cast<float*>(pages_.data()) + begin * stride, stride);
  });
}

GemmWeight gemm_weight(const Tensor& tensor) {
  const FloatType type = float_type_of(tensor.dtype).value();
  return {tensor.data.get(), type, tensor.shape[0], tensor.shape[1]};
}

}  // namespace bertie::cpu
