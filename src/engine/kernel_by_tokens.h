// A step that one of several kernels runs, by how many tokens the batch has.
#pragma once

#include <memory>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

class KernelByTokens final : public Kernel {
 public:
  struct Range {
    int64_t most;  // tokens; of the last range no bound
    std::shared_ptr<const Kernel> kernel;
  };
  // At least one range, ascending. All kernels keep their outputs alike.
  explicit KernelByTokens(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}

  void run(const KernelContext& context) const override;
  size_t workspace_bytes(const BatchLimits& limits, int threads) const override;
  size_t run_workspace_bytes(const BatchLimits& limits, std::span<const TensorView> inputs, int threads) const override;
  bool reads_constant(size_t index) const override;
  size_t packed_bytes() const override;  // the most that one of them owns: they share what they read
  DType stored(size_t output, DType declared) const override { return ranges_.front().kernel->stored(output, declared); }
  int64_t query_block() const override { return ranges_.front().kernel->query_block(); }

 private:
  std::vector<Range> ranges_;
};

}  // namespace bertie
