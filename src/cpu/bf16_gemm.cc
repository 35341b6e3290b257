#include "cpu/bf16_gemm.h"

#include <algorithm>
#include <vector>

#include "base/panels.h"
#include "cpu/gemm.h"
#include "cpu/operands.h"

namespace bertie::cpu {
namespace {

size_t scratch_bytes(const IsaKernels& kernels, int64_t k) {
  return (kernels.bf16_gemm_scratch_bytes(kernels.bf16_gemm_rows_at_once(), k) + 63) / 64 * 64;
}

}  // namespace

PackedBf16Weight::PackedBf16Weight(const IsaKernels& kernels, const Tensor& weight, ThreadPool& pool)
    : n_(weight.shape[0]),
      k_(weight.shape[1]),
      pages_(static_cast<size_t>(panel_count(n_) * kGemmPanel * bf16_depth(k_)) * sizeof(uint16_t), weight.shape) {
  constexpr int64_t kAtOnce = 4;
  const int64_t panels = panel_count(n_), stride = kGemmPanel * bf16_depth(k_), lent = kAtOnce * kGemmPanel * k_;
  const bool in_rows = weight.layout == TensorLayout::rows;
  const auto element = static_cast<int64_t>(dtype_size(weight.dtype));
  std::vector<std::byte> unpacked(in_rows ? 0 : static_cast<size_t>(lent * element * pool.threads()));  // each thread's rows
  pool.parallel_for((panels + kAtOnce - 1) / kAtOnce, [&](int64_t task, int worker) {
    const int64_t begin = task * kAtOnce, end = std::min(panels, begin + kAtOnce);
    uint16_t* const to = static_cast<uint16_t*>(pages_.data()) + begin * stride;
    if (in_rows) return kernels.pack_bf16_panels(gemm_weight(weight), begin, end, to);
    const Shape shape{std::min(n_, end * kGemmPanel) - begin * kGemmPanel, k_};
    std::byte* const rows = unpacked.data() + worker * lent * element;
    unpack_panels(static_cast<const std::byte*>(weight.data.get()) + begin * kGemmPanel * k_ * element, weight.dtype, shape,
                  rows);
    kernels.pack_bf16_panels({rows, float_type_of(weight.dtype).value(), shape[0], k_}, 0, end - begin, to);
  });
}

size_t bf16_gemm_workspace(const IsaKernels& kernels, int64_t k, int threads) {
  return scratch_bytes(kernels, k) * static_cast<size_t>(threads);
}

void run_bf16_gemm(const IsaKernels& kernels, const Bf16GemmProblem& problem, int64_t rows, ThreadPool& pool,
                   std::span<std::byte> workspace) {
  constexpr int64_t kProducts = 2;  // that a lane takes in the time of one multiply-add, or more
  const GemmTiles tiles = {kernels.bf16_gemm_rows_at_once(), kernels.bf16_gemm_panels_at_once};
  const GemmPlan plan = plan_gemm(tiles, rows, problem.weight.n, problem.weight.k / kProducts, pool.threads());
  const size_t bytes = scratch_bytes(kernels, problem.weight.k);
  run_plan(plan, rows, problem.weight.n, pool, [&](const GemmRange& range, int worker) {
    kernels.bf16_gemm(problem, range, workspace.data() + bytes * static_cast<size_t>(worker));
  });
}

}  // namespace bertie::cpu
