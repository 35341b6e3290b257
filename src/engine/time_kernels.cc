#include "engine/time_kernels.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "engine/timed_batch.h"

namespace bertie {
namespace {

using Clock = std::chrono::steady_clock;

// A short text, a common one, and a batch.
constexpr int64_t kTokenCounts[] = {16, 128, 512};
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

// A step's operands for one token count.
class Bench {
 public:
  explicit Bench(int64_t tokens) : batch_(tokens) {}

  // Whether the step can be run.
  bool make_operands(const Network& network, const Node& node) {
    for (ValueId input : node.inputs) {
      TensorView view;
      if (input != kNone) {
        const Value& value = network.value(input);
        const std::optional<Shape> shape = batch_.shape_of(value.shape);
        if (!shape || (!value.constant && value.dtype != DType::f32)) return false;
        view = {value.constant ? value.constant->data.get() : random(shape->elements()), value.dtype, *shape};
      }
      inputs_.push_back(view);
    }
    for (ValueId output : node.outputs) {
      const Value& value = network.value(output);
      const std::optional<Shape> shape = batch_.shape_of(value.shape);
      if (!shape) return false;
      memory_.push_back(allocate(static_cast<size_t>(shape->elements()) * dtype_size(value.dtype)));
      outputs_.push_back({memory_.back().get(), value.dtype, *shape});
    }
    return true;
  }

  void make_workspace(std::span<const NamedKernel> kernels, ThreadPool& pool) {
    for (const NamedKernel& candidate : kernels) {
      workspace_bytes_ = std::max(workspace_bytes_, candidate.kernel->workspace_bytes(batch_.limits(), pool.threads()));
    }
    workspace_ = allocate(workspace_bytes_);
  }

  // Milliseconds of one run, over `times` runs.
  double run(const Kernel& kernel, ThreadPool& pool, int64_t times) const {
    const KernelContext context{inputs_, outputs_, batch_.packed, {workspace_.get(), workspace_bytes_}, pool};
    const auto start = Clock::now();
    for (int64_t i = 0; i < times; ++i) kernel.run(context);
    const double total = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    return std::max(total, 1e-6) / static_cast<double>(times);
  }

 private:
  const float* random(int64_t count) {
    memory_.push_back(allocate(static_cast<size_t>(count) * sizeof(float)));
    auto* floats = reinterpret_cast<float*>(memory_.back().get());
    fill_random({floats, static_cast<size_t>(count)}, static_cast<uint32_t>(memory_.size()));
    return floats;
  }

  TimedBatch batch_;
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
