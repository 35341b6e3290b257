#include "engine/time_kernels.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>

namespace bertie {
namespace {

using Clock = std::chrono::steady_clock;

// A short text, a common one, and a batch.
constexpr int64_t kTokenCounts[] = {16, 128, 512};
constexpr int64_t kLongest = 128;  // of a sequence
constexpr int kRounds = 5;
constexpr double kRoundMilliseconds = 0.5;  // short steps are run several times over

struct Free {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<std::byte[], Free>;

Memory allocate(size_t bytes) {
  constexpr size_t kAlignment = 64;
  Memory memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, (bytes / kAlignment + 1) * kAlignment)));
  if (!memory) throw std::bad_alloc();
  return memory;
}

std::optional<Shape> concrete(const SymbolicShape& symbolic, const PackedBatch& batch) {
  if (symbolic.size() > Shape::kMaxRank) return std::nullopt;
  std::vector<int64_t> extents;
  for (const Dim& dim : symbolic) {
    if (dim.is_fixed())
      extents.push_back(dim.size);
    else if (dim.symbol == "tokens")
      extents.push_back(batch.tokens);
    else if (dim.symbol == "rows")
      extents.push_back(batch.rows);
    else if (dim.symbol == "batch")
      extents.push_back(batch.sequences);
    else
      return std::nullopt;
  }
  return Shape(std::span<const int64_t>(extents));
}

// A step's operands for one token count.
class Bench {
 public:
  explicit Bench(int64_t tokens) {
    batch_.tokens = tokens;
    batch_.longest = std::min(tokens, kLongest);
    batch_.sequences = (tokens + kLongest - 1) / kLongest;
    batch_.rows = tokens / 8 + 1;
    for (int64_t i = 0; i <= batch_.sequences; ++i) lengths_.push_back(static_cast<int32_t>(std::min(tokens, i * kLongest)));
    batch_.cumulative_lengths = lengths_.data();
  }

  // Whether the step can be run.
  bool make_operands(const Network& network, const Node& node) {
    for (ValueId input : node.inputs) {
      TensorView view;
      if (input != kNone) {
        const Value& value = network.value(input);
        const std::optional<Shape> shape = concrete(value.shape, batch_);
        if (!shape || (!value.constant && value.dtype != DType::f32)) return false;
        view = {value.constant ? value.constant->data.get() : random(shape->elements()), value.dtype, *shape};
      }
      inputs_.push_back(view);
    }
    for (ValueId output : node.outputs) {
      const Value& value = network.value(output);
      const std::optional<Shape> shape = concrete(value.shape, batch_);
      if (!shape) return false;
      memory_.push_back(allocate(static_cast<size_t>(shape->elements()) * dtype_size(value.dtype)));
      outputs_.push_back({memory_.back().get(), value.dtype, *shape});
    }
    return true;
  }

  void make_workspace(std::span<const NamedKernel> kernels, ThreadPool& pool) {
    const BatchLimits limits{batch_.tokens, batch_.sequences, batch_.longest, batch_.rows};
    for (const NamedKernel& candidate : kernels) {
      workspace_bytes_ = std::max(workspace_bytes_, candidate.kernel->workspace_bytes(limits, pool.threads()));
    }
    workspace_ = allocate(workspace_bytes_);
  }

  // Milliseconds of one run, over `times` runs.
  double run(const Kernel& kernel, ThreadPool& pool, int64_t times) const {
    const KernelContext context{inputs_, outputs_, batch_, {workspace_.get(), workspace_bytes_}, pool};
    const auto start = Clock::now();
    for (int64_t i = 0; i < times; ++i) kernel.run(context);
    const double total = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    return std::max(total, 1e-6) / static_cast<double>(times);
  }

 private:
  const float* random(int64_t count) {
    memory_.push_back(allocate(static_cast<size_t>(count) * sizeof(float)));
    auto* floats = reinterpret_cast<float*>(memory_.back().get());
    std::minstd_rand generator(static_cast<uint32_t>(memory_.size()));
    for (int64_t i = 0; i < count; ++i) floats[i] = static_cast<float>(generator() % 2001) * 1e-3f - 1;
    return floats;
  }

  PackedBatch batch_;
  std::vector<int32_t> lengths_;
  std::vector<Memory> memory_;
  std::vector<TensorView> inputs_;
  std::vector<MutableTensorView> outputs_;
  Memory workspace_;
  size_t workspace_bytes_ = 0;
};

}  // namespace

std::optional<KernelTimes> time_kernels(const Network& network, const Node& node, std::span<const NamedKernel> kernels,
                                        ThreadPool& pool) {
  KernelTimes times;
  for (const int64_t tokens : kTokenCounts) {
    Bench bench(tokens);
    if (!bench.make_operands(network, node)) return std::nullopt;
    bench.make_workspace(kernels, pool);
    std::vector<double> best(kernels.size());
    std::vector<int64_t> repeats(kernels.size());
    for (size_t k = 0; k < kernels.size(); ++k) {
      best[k] = bench.run(*kernels[k].kernel, pool, 1);  // caches are cold: only an idea of how long it takes
      repeats[k] = std::clamp<int64_t>(static_cast<int64_t>(kRoundMilliseconds / best[k]), 1, 1000);
    }
    for (int round = 0; round < kRounds; ++round) {
      for (size_t k = 0; k < kernels.size(); ++k) best[k] = std::min(best[k], bench.run(*kernels[k].kernel, pool, repeats[k]));
    }
    times.tokens.push_back(tokens);
    for (size_t k = 0; k < kernels.size(); ++k) times.milliseconds[kernels[k].name].push_back(best[k]);
  }
  return times;
}

double mean_milliseconds(const std::vector<double>& milliseconds) {
  double logarithms = 0;
  for (const double time : milliseconds) logarithms += std::log(time);
  return milliseconds.empty() ? 0 : std::exp(logarithms / static_cast<double>(milliseconds.size()));
}

}  // namespace bertie
