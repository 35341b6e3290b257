// float32 GEMM on the pool: weights packed once, work cut into ranges of rows and columns. kernels/gemm.h states the order of sums.
#pragma once

#include <cstddef>
#include <span>

#include "base/panels.h"
#include "base/thread_pool.h"
#include "bertie/tensor.h"
#include "cpu/kernels/isa_kernels.h"
#include "cpu/packed_pages.h"

namespace bertie::cpu {

// Rows are cut into `row_chunks` nearly equal chunks, columns into chunks of `chunk_panels` panels: one task each.
struct GemmPlan {
  int64_t row_chunks = 0;
  int64_t column_chunks = 0;
  int64_t chunk_panels = 0;
};
// What a GEMM's kernels take at once.
struct GemmTiles {
  int64_t rows;                              // of one range
  int64_t (*panels)(int64_t rows_of_range);  // of one tile
  int64_t (*ranges_per_thread)(int64_t rows, int64_t k) = [](int64_t, int64_t) -> int64_t { return kGemmRangesPerThread; };
};
inline GemmTiles gemm_tiles(const IsaKernels& kernels) {
  return {kernels.gemm_rows_at_once(), kernels.gemm_panels_at_once, kernels.gemm_ranges_per_thread};
}
// `k`: in multiply-adds of vectors.
GemmPlan plan_gemm(const GemmTiles& tiles, int64_t rows, int64_t columns, int64_t k, int threads);

// Calls body(range, worker) for each task of the plan, on the pool.
template <typename Body>
void run_plan(const GemmPlan& plan, int64_t rows, int64_t columns, ThreadPool& pool, Body body) {
  pool.parallel_for(plan.row_chunks * plan.column_chunks, [&](int64_t task, int worker) {
    // Row chunks vary fastest: threads that work at the same time read the same weights.
    const int64_t row_chunk = task % plan.row_chunks, panel = task / plan.row_chunks * plan.chunk_panels;
    const int64_t panels = panel_count(columns), last = panel + plan.chunk_panels;
    body(GemmRange{rows * row_chunk / plan.row_chunks, rows * (row_chunk + 1) / plan.row_chunks, panel,
                   last < panels ? last : panels},
         worker);
  });
}

// Scratch that run_gemm needs.
size_t gemm_scratch_bytes(const IsaKernels& kernels, const GemmProblem& problem, int threads);

// C for `rows` rows. `scratch`: 64-byte aligned, gemm_scratch_bytes().
void run_gemm(const IsaKernels& kernels, GemmProblem problem, int64_t rows, ThreadPool& pool, std::span<std::byte> scratch);

static_assert(kGemmPanel == kPanelWidth, "engine files hold panels that the kernels read in place");

// A constant [n, k] of type f32, f16 or bf16.
GemmWeight gemm_weight(const Tensor& tensor);

// Weights in panels of their own type.
class PackedWeight {
 public:
  // Packs in parallel, from rows. Throws Error(out_of_memory).
  PackedWeight(const IsaKernels& kernels, const Tensor& weight, ThreadPool& pool);
  const void* panels() const { return pages_.data(); }
  size_t bytes() const { return pages_.bytes(); }

 private:
  PackedPages pages_;
};

}  // namespace bertie::cpu
