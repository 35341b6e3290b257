#include "cpu/int8_gemm.h"

#include <algorithm>

namespace bertie::cpu {
namespace {

static_assert(kInt8DepthStep == kInt8PanelDepth);

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// How C is cut. Rows into `row_chunks` nearly equal chunks, columns into chunks of `chunk_panels` panels.
struct Plan {
  int64_t row_chunks = 0;
  int64_t column_chunks = 1;
  int64_t chunk_panels = 0;
  int64_t chunk_rows() const { return rows_ / row_chunks + (rows_ % row_chunks != 0); }
  int64_t rows_;
};

// A row can be quantised once all its columns are there. With many rows a task takes whole rows, and its floats stay in the cache;
// with few the threads share the columns, and quantise when all are done.
constexpr int64_t kFewRows = 32;               // a thread
constexpr int64_t kWholeRowBytes = 768 << 10;  // of floats, for a task

bool takes_whole_rows(int64_t rows, int threads) { return threads == 1 || rows >= kFewRows * threads; }

int64_t rows_at_once(const IsaKernels& kernels, int64_t n, bool whole_rows) {
  const int64_t most = kernels.int8_gemm_rows_at_once();
  if (!whole_rows) return most;
  return std::clamp<int64_t>(kWholeRowBytes / (panel_count(n) * kPanelWidth * 4) / 16 * 16, 16, most);
}

Plan plan(const IsaKernels& kernels, int64_t rows, int64_t n, int64_t k, bool quantized, int threads) {
  constexpr int64_t kTaskCost = int64_t{1} << 20;  // multiply-adds: a few us, several times the cost of a fork
  constexpr int64_t kTasksPerThread = 4;           // so that the last one to finish is not late by much
  constexpr int64_t kRowsPerWeightRead = 16;       // with fewer rows the time goes into reading weights
  constexpr int64_t kChunkPanels = 64;             // rows of A, once fetched, serve all of them
  Plan plan;
  plan.rows_ = rows;
  const int64_t panels = panel_count(n);
  plan.chunk_panels = panels;
  const bool whole_rows = quantized && takes_whole_rows(rows, threads);
  plan.row_chunks = divide_up(rows, rows_at_once(kernels, n, whole_rows));
  // As many for each thread, unless there is but one or they become small.
  const int64_t even = divide_up(plan.row_chunks, threads) * threads;
  if ((whole_rows || plan.row_chunks > 1) && rows >= even * kFewRows / 2) plan.row_chunks = even;
  if (whole_rows) return plan;
  const int64_t cost = std::max(rows, kRowsPerWeightRead) * panels * kPanelWidth * std::max<int64_t>(k, 1);
  const int64_t wanted = threads == 1 ? 1 : std::clamp<int64_t>(cost / kTaskCost, 1, threads * kTasksPerThread);
  const int64_t chunks = std::min(panels, std::max(divide_up(panels, kChunkPanels), divide_up(wanted, plan.row_chunks)));
  // Whole tiles where there are enough of them for the chunks to come out alike.
  const int64_t at_once = kernels.int8_gemm_panels_at_once(plan.chunk_rows());
  const int64_t groups = divide_up(panels, at_once);
  plan.chunk_panels =
      groups % chunks == 0 || groups >= 4 * chunks ? divide_up(groups, chunks) * at_once : divide_up(panels, chunks);
  plan.column_chunks = divide_up(panels, plan.chunk_panels);
  return plan;
}

}  // namespace

size_t int8_gemm_workspace(const IsaKernels& kernels, int64_t rows, int64_t n, int64_t k, bool quantized, int threads) {
  // For any number of rows up to this one: the most of each kind of plan.
  const int64_t each = std::min(rows, kernels.int8_gemm_rows_at_once());
  const size_t scratch = aligned(kernels.int8_gemm_scratch_bytes(each, k)) * static_cast<size_t>(threads);
  if (!quantized) return scratch;
  const int64_t whole = threads * std::min(rows, rows_at_once(kernels, n, true));
  const int64_t shared = threads == 1 ? 0 : std::min(rows, kFewRows * threads);
  return scratch + static_cast<size_t>(std::max(whole, shared) * panel_count(n) * kPanelWidth) * sizeof(float);
}

void run_int8_gemm(const IsaKernels& kernels, Int8GemmProblem problem, int64_t rows, const QuantizeRows* quantized,
                   ThreadPool& pool, std::span<std::byte> workspace) {
  const int64_t n = problem.weight.n, k = problem.weight.k, panels = panel_count(n);
  if (rows <= 0 || n <= 0) return;
  const Plan plan = cpu::plan(kernels, rows, n, k, quantized != nullptr, pool.threads());
  const size_t scratch_bytes = aligned(kernels.int8_gemm_scratch_bytes(plan.chunk_rows(), k));
  float* const floats = reinterpret_cast<float*>(workspace.data() + scratch_bytes * static_cast<size_t>(pool.threads()));
  const int64_t width = panels * kPanelWidth;
  const auto first_row = [&](int64_t chunk) { return rows * chunk / plan.row_chunks; };

  if (quantized && takes_whole_rows(rows, pool.threads())) {
    pool.parallel_for(plan.row_chunks, [&](int64_t chunk, int worker) {
      const int64_t begin = first_row(chunk), end = first_row(chunk + 1);
      Int8GemmProblem part = problem;  // of which this chunk's rows are the first
      part.a += begin * part.a_stride;
      part.a_scales += begin * part.a_scale_stride;
      if (part.residual) part.residual += begin * part.residual_stride;
      part.c = floats + worker * plan.chunk_rows() * width;
      part.c_stride = width;
      kernels.int8_gemm(part, {0, end - begin, 0, panels}, workspace.data() + scratch_bytes * static_cast<size_t>(worker));
      kernels.quantize_rows({part.c, width, n, quantized->values + begin * n, quantized->scales + begin, nullptr, nullptr}, 0,
                            end - begin);
    });
    return;
  }
  if (quantized) {
    problem.c = floats;
    problem.c_stride = width;
  }
  pool.parallel_for(plan.row_chunks * plan.column_chunks, [&](int64_t task, int worker) {
    // Row chunks vary fastest: threads that work at the same time read the same weights.
    const int64_t row_chunk = task % plan.row_chunks, column_chunk = task / plan.row_chunks;
    const GemmRange range = {first_row(row_chunk), first_row(row_chunk + 1), column_chunk * plan.chunk_panels,
                             std::min(panels, (column_chunk + 1) * plan.chunk_panels)};
    kernels.int8_gemm(problem, range, workspace.data() + scratch_bytes * static_cast<size_t>(worker));
  });
  if (quantized) {
    const QuantizeRows all = {floats, width, n, quantized->values, quantized->scales, nullptr, nullptr};
    pool.parallel_for(rows, [&](int64_t row, int) { kernels.quantize_rows(all, row, row + 1); });
  }
}

PackedInt8Weight::PackedInt8Weight(const IsaKernels& kernels, const Tensor& weight, ThreadPool& pool)
    : n_(weight.shape[0]),
      k_(weight.shape[1]),
      pages_(weight.layout == TensorLayout::rows ? static_cast<size_t>(panel_count(n_) * kPanelWidth * int8_depth(k_)) : 0,
             weight.shape),
      panels_(static_cast<const int8_t*>(weight.layout == TensorLayout::rows ? pages_.data() : weight.data.get())) {
  constexpr int64_t kAtOnce = 8;
  const int64_t panels = panel_count(n_), stride = int8_depth(k_) * kPanelWidth, order = kernels.int8_order_length(k_);
  order_.resize(static_cast<size_t>(panels * order));
  starts_ = std::make_unique<int32_t[]>(static_cast<size_t>(panels * kPanelWidth));
  int8_t* const packed = static_cast<int8_t*>(pages_.data());
  const int8_t* rows = static_cast<const int8_t*>(weight.data.get());
  pool.parallel_for(divide_up(panels, kAtOnce), [&](int64_t task, int) {
    const int64_t begin = task * kAtOnce, end = std::min(panels, begin + kAtOnce);
    if (packed) kernels.pack_int8_panels(rows, n_, k_, begin, end, packed + begin * stride);
    kernels.int8_order(panels_ + begin * stride, end - begin, k_, order_.data() + begin * order,
                       starts_.get() + begin * kPanelWidth);
  });
}

}  // namespace bertie::cpu
