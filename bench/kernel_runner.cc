#include "bench/kernel_runner.h"

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <random>

#include "base/error.h"
#include "base/float16.h"
#include "cpu/isa.h"

namespace bertie::bench {
namespace {

// In large pages, as a session's activations are.
std::shared_ptr<std::byte[]> allocate(size_t bytes) {
  constexpr size_t kLargePage = size_t{2} << 20;
  const size_t rounded = (bytes / kLargePage + 1) * kLargePage;
  void* memory = std::aligned_alloc(kLargePage, rounded);
  madvise(memory, rounded, MADV_HUGEPAGE);
  return {static_cast<std::byte*>(memory), [](std::byte* freed) { std::free(freed); }};
}

}  // namespace

double thread_seconds() {
  timespec time = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

KernelRunner::KernelRunner(const Network& network, const std::vector<int64_t>& lengths, const Backend& backend) {
  for (int64_t length : lengths) {
    starts_.push_back(starts_.back() + static_cast<int32_t>(length));
    batch_.longest = std::max(batch_.longest, length);
  }
  batch_.tokens = starts_.back();
  batch_.sequences = static_cast<int64_t>(lengths.size());
  batch_.cumulative_lengths = starts_.data();

  const Node& node = network.node(network.order().at(0));
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto view = [&](ValueId id) {
    const Value& value = network.value(id);
    std::vector<int64_t> extents;
    for (const Dim& dim : value.shape) extents.push_back(dim.is_fixed() ? dim.size : batch_.tokens);
    const Shape shape{std::span<const int64_t>(extents)};
    memory_.push_back(allocate(static_cast<size_t>(shape.elements()) * dtype_size(value.dtype)));
    return MutableTensorView{memory_.back().get(), value.dtype, shape};
  };
  for (ValueId id : node.inputs) {
    if (network.value(id).constant) {
      inputs_.push_back(network.value(id).constant->view());
      continue;
    }
    const MutableTensorView input = view(id);
    if (input.dtype == DType::f16) {
      std::generate_n(input.as<uint16_t>(), input.shape.elements(), [&] { return float_to_f16(normal(random)); });
    } else {
      std::generate_n(input.as<float>(), input.shape.elements(), [&] { return normal(random); });
    }
    inputs_.push_back(input);
  }
  for (ValueId id : node.outputs) outputs_.push_back(view(id));

  for (const KernelEntry& entry : backend.kernels()) {
    if (entry.op != node.op) continue;
    PrepareResult result = entry.prepare({network, node, pool_});
    if (auto* preparation = std::get_if<Preparation>(&result)) {
      kernel_ = std::move(preparation->kernel);
      break;
    }
  }
  if (!kernel_) fail(ErrorCode::unsupported, "no kernel of backend {} takes this {}", backend.name, node.op);
  const size_t bytes = kernel_->workspace_bytes({batch_.tokens, batch_.sequences, batch_.longest, batch_.rows}, 1);
  memory_.push_back(allocate(bytes));
  workspace_ = {memory_.back().get(), bytes};
}

void KernelRunner::run() { kernel_->run({inputs_, outputs_, batch_, workspace_, pool_}); }

double peak_flops() {
  const auto f32_peak = cpu::active_isa().kernels->f32_peak;
  float sink = 0;
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const double start = thread_seconds();
    const double flops = static_cast<double>(f32_peak(100000, &sink));
    best = std::max(best, flops / (thread_seconds() - start));
  }
  return best;
}

}  // namespace bertie::bench
