#include "cpu/gemm.h"

#include <sys/mman.h>

#include <algorithm>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "cpu/operands.h"

namespace bertie::cpu {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t scratch_floats(bool packed) { return packed ? 0 : kGemmScratchFloats; }

}  // namespace

GemmPlan plan_gemm(const IsaKernels& kernels, int64_t rows, int64_t columns, int64_t k, int threads) {
  constexpr int64_t kChunkPanels = 64;       // 1024 columns: rows of A, once fetched, serve all of them
  constexpr int64_t kTaskCost = 16000;       // in vector multiply-adds: about 5 us, several times the cost of a fork
  constexpr int64_t kTasksPerThread = 8;     // so that the last one to finish is not late by much
  constexpr int64_t kRowsPerWeightRead = 4;  // with fewer rows the time goes into reading weights
  GemmPlan plan;
  if (rows <= 0 || columns <= 0) return plan;
  const int64_t panels = panel_count(columns);
  plan.row_chunks = divide_up(rows, kGemmMaxRows);
  const int64_t cost = std::max(rows, kRowsPerWeightRead) * panels * std::max<int64_t>(k, 1);
  const int64_t wanted = threads == 1 ? 1 : std::clamp<int64_t>(cost / kTaskCost, 1, threads * kTasksPerThread);
  const int64_t chunks = std::min(panels, std::max(divide_up(panels, kChunkPanels), divide_up(wanted, plan.row_chunks)));
  // Whole tiles where there are enough of them for the chunks to come out alike.
  const int64_t at_once = kernels.gemm_panels_at_once(divide_up(rows, plan.row_chunks));
  const int64_t groups = divide_up(panels, at_once);
  plan.chunk_panels =
      groups % chunks == 0 || groups >= 4 * chunks ? divide_up(groups, chunks) * at_once : divide_up(panels, chunks);
  plan.column_chunks = divide_up(panels, plan.chunk_panels);
  return plan;
}

size_t gemm_scratch_bytes(bool packed, int threads) {
  return static_cast<size_t>(scratch_floats(packed)) * sizeof(float) * static_cast<size_t>(threads);
}

void run_gemm(const IsaKernels& kernels, const GemmProblem& problem, int64_t rows, ThreadPool& pool,
              std::span<std::byte> scratch) {
  const GemmPlan plan = plan_gemm(kernels, rows, problem.weight.n, problem.weight.k, pool.threads());
  const int64_t panels = panel_count(problem.weight.n);
  const int64_t floats = scratch_floats(problem.panels != nullptr);
  pool.parallel_for(plan.row_chunks * plan.column_chunks, [&](int64_t task, int worker) {
    // Row chunks vary fastest: threads that work at the same time read the same weights.
    const int64_t row_chunk = task % plan.row_chunks, column_chunk = task / plan.row_chunks;
    const GemmRange range = {rows * row_chunk / plan.row_chunks, rows * (row_chunk + 1) / plan.row_chunks,
                             column_chunk * plan.chunk_panels, std::min(panels, (column_chunk + 1) * plan.chunk_panels)};
    kernels.gemm(problem, range, reinterpret_cast<float*>(scratch.data()) + worker * floats);
  });
}

PackedWeight::PackedWeight(const IsaKernels& kernels, const GemmWeight& weight, ThreadPool& pool) {
  const int64_t panels = panel_count(weight.n), stride = weight.k * kGemmPanel;
  bytes_ = static_cast<size_t>(panels * stride) * sizeof(float);
  if (bytes_ == 0) return;
  // Pages of their own, so that memory goes back to the system with the engine; large ones where the system has them.
  void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail(ErrorCode::out_of_memory, "packed weights [{}, {}] need {} bytes", weight.n, weight.k, bytes_);
  madvise(memory, bytes_, MADV_HUGEPAGE);
  panels_ = static_cast<float*>(memory);
  constexpr int64_t kAtOnce = 4;
  pool.parallel_for(divide_up(panels, kAtOnce), [&](int64_t task, int) {
    const int64_t begin = task * kAtOnce, end = std::min(panels, begin + kAtOnce);
    kernels.pack_panels(weight, begin, end, 0, weight.k, panels_ + begin * stride, stride);
  });
}

PackedWeight::~PackedWeight() {
  if (panels_ != nullptr) munmap(panels_, bytes_);
}

GemmWeight gemm_weight(const Tensor& tensor) {
  const FloatType type = float_type_of(tensor.dtype).value();
  return {tensor.data.get(), type, tensor.shape[0], tensor.shape[1]};
}

SharedPacking shared_packing(const IsaKernels& kernels, const Tensor& tensor, ThreadPool& pool) {
  struct Entry {
    const IsaKernels* kernels;
    std::weak_ptr<const void> source;
    const void* data;
    Shape shape;
    DType dtype;
    std::weak_ptr<const PackedWeight> packing;
  };
  static std::mutex mutex;
  static std::vector<Entry> entries;

  std::lock_guard lock(mutex);
  std::erase_if(entries, [](const Entry& entry) { return entry.source.expired() || entry.packing.expired(); });
  for (const Entry& entry : entries) {
    // The owner is compared too: another file may have been mapped at the same address since.
    const bool same_owner = !entry.source.owner_before(tensor.data) && !tensor.data.owner_before(entry.source);
    if (entry.kernels != &kernels || !same_owner || entry.data != tensor.data.get() || entry.dtype != tensor.dtype ||
        !(entry.shape == tensor.shape))
      continue;
    if (std::shared_ptr<const PackedWeight> packing = entry.packing.lock()) return {packing, false};
  }
  auto packing = std::make_shared<const PackedWeight>(kernels, gemm_weight(tensor), pool);
  entries.push_back({&kernels, tensor.data, tensor.data.get(), tensor.shape, tensor.dtype, packing});
  return {packing, true};
}

}  // namespace bertie::cpu
