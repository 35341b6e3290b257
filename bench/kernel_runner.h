// One op of a backend, prepared and bound to random inputs, on one thread.
#pragma once

#include <memory>
#include <vector>

#include "backend/kernel.h"
#include "cpu/backend.h"

namespace bertie::bench {

class KernelRunner {
 public:
  // The network has one node; "tokens" of its shapes is the sum of `lengths`.
  KernelRunner(const Network& network, const std::vector<int64_t>& lengths, const Backend& backend = cpu_backend());
  void run();

 private:
  ThreadPool pool_{1};
  std::unique_ptr<Kernel> kernel_;
  std::vector<int32_t> starts_{0};
  PackedBatch batch_;
  std::vector<std::shared_ptr<std::byte[]>> memory_;
  std::vector<TensorView> inputs_;
  std::vector<MutableTensorView> outputs_;
  std::span<std::byte> workspace_;
};

double thread_seconds();  // CPU time of the calling thread

// Multiply-adds a second of this thread, twice: float32 operations by CPU time. A few milliseconds.
double peak_flops();

}  // namespace bertie::bench
