// bfloat16 GEMM on the pool: weights packed once, work cut into ranges of rows and columns. kernels/bf16_gemm.h states the arithmetic.
#pragma once

#include <cstddef>
#include <span>

#include "base/thread_pool.h"
#include "bertie/tensor.h"
#include "cpu/kernels/isa_kernels.h"
#include "cpu/packed_pages.h"

namespace bertie::cpu {

// Whether `kernels` have these products at all.
inline bool has_bf16_gemm(const IsaKernels& kernels) { return kernels.bf16_gemm != nullptr; }

// A weight [n, k] of f32, f16 or bf16 in panels, rounded to bfloat16.
class PackedBf16Weight {
 public:
  // Packs in parallel, from rows or from panels_16. Throws Error(out_of_memory).
  PackedBf16Weight(const IsaKernels& kernels, const Tensor& weight, ThreadPool& pool);
  Bf16Weight view() const { return {static_cast<const uint16_t*>(pages_.data()), n_, k_}; }
  size_t bytes() const { return pages_.bytes(); }

 private:
  int64_t n_, k_;
  PackedPages pages_;
};

// Scratch that run_bf16_gemm needs for any number of rows.
size_t bf16_gemm_workspace(const IsaKernels& kernels, int64_t k, int threads);

// C for `rows` rows. `workspace`: 64-byte aligned, bf16_gemm_workspace().
void run_bf16_gemm(const IsaKernels& kernels, const Bf16GemmProblem& problem, int64_t rows, ThreadPool& pool,
                   std::span<std::byte> workspace);

}  // namespace bertie::cpu
