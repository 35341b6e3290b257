// float32 GEMM on the pool: weights packed once, work cut into ranges of rows and columns. kernels/gemm.h states the order of sums.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "base/panels.h"
#include "base/thread_pool.h"
#include "bertie/tensor.h"
#include "cpu/kernels/isa_kernels.h"

namespace bertie::cpu {

// Rows are cut into `row_chunks` nearly equal chunks, columns into chunks of `chunk_panels` panels: one task each.
struct GemmPlan {
  int64_t row_chunks = 0;
  int64_t column_chunks = 0;
  int64_t chunk_panels = 0;
};
GemmPlan plan_gemm(const IsaKernels& kernels, int64_t rows, int64_t columns, int64_t k, int threads);

// Scratch that run_gemm needs; less where the weights are packed.
size_t gemm_scratch_bytes(bool packed, int threads);

// C for `rows` rows. `scratch`: 64-byte aligned, gemm_scratch_bytes().
void run_gemm(const IsaKernels& kernels, const GemmProblem& problem, int64_t rows, ThreadPool& pool,
              std::span<std::byte> scratch);

static_assert(kGemmPanel == kPanelWidth, "engine files hold panels that the kernels read in place");

// Weights in panels, float32.
class PackedWeight {
 public:
  // Packs in parallel. Throws Error(out_of_memory).
  PackedWeight(const IsaKernels& kernels, const GemmWeight& weight, ThreadPool& pool);
  PackedWeight(const PackedWeight&) = delete;
  PackedWeight& operator=(const PackedWeight&) = delete;
  ~PackedWeight();
  const float* panels() const { return panels_; }
  size_t bytes() const { return bytes_; }

 private:
  float* panels_ = nullptr;
  size_t bytes_ = 0;
};

// A constant [n, k] of type f32, f16 or bf16.
GemmWeight gemm_weight(const Tensor& tensor);

struct SharedPacking {
  std::shared_ptr<const PackedWeight> weight;
  bool fresh;  // made by this call
};
// `tensor` packed; the same packing where another kernel already holds one of these very bytes (layers that share weights).
SharedPacking shared_packing(const IsaKernels& kernels, const Tensor& tensor, ThreadPool& pool);

}  // namespace bertie::cpu
