// Eight-bit GEMM on the pool: weights packed once, work cut into ranges of rows and columns. kernels/int8_gemm.h states the arithmetic.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/panels.h"
#include "base/thread_pool.h"
#include "bertie/tensor.h"
#include "cpu/kernels/isa_kernels.h"
#include "cpu/packed_pages.h"

namespace bertie::cpu {

// An i8 weight [n, k] in panels, with what kernels want beside them.
class PackedInt8Weight {
 public:
  // Packs a row-major weight in parallel; panels that are there already are read in place (their bytes then outlive this).
  // Throws Error(out_of_memory).
  PackedInt8Weight(const IsaKernels& kernels, const Tensor& weight, ThreadPool& pool);
  Int8Weight view() const { return {panels_, order_.data(), starts_.get(), n_, k_}; }
  size_t bytes() const {  // that this owns
    return pages_.bytes() + static_cast<size_t>(panel_count(n_) * kPanelWidth) * sizeof(int32_t) +
           order_.size() * sizeof(uint16_t);
  }

 private:
  int64_t n_, k_;
  PackedPages pages_;  // none where the panels are read in place
  const int8_t* panels_;
  std::vector<uint16_t> order_;  // empty where lines are taken one after another
  std::unique_ptr<int32_t[]> starts_;
};

// C for `rows` rows: into problem.c, or problem.values; or, where `quantized` is given (its x and extent are not used), into its
// rows, each with a scale found when all of it is there. `workspace`: 64-byte aligned,
// int8_gemm_workspace() bytes for as many rows or more.
void run_int8_gemm(const IsaKernels& kernels, Int8GemmProblem problem, int64_t rows, const QuantizeRows* quantized,
                   ThreadPool& pool, std::span<std::byte> workspace);
size_t int8_gemm_workspace(const IsaKernels& kernels, int64_t rows, int64_t n, int64_t k, bool quantized, int threads);

}  // namespace bertie::cpu
