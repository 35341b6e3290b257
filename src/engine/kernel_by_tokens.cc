#include "engine/kernel_by_tokens.h"

#include <algorithm>

namespace bertie {

void KernelByTokens::run(const KernelContext& context) const {
  const auto last = ranges_.end() - 1;
  std::find_if(ranges_.begin(), last, [&](const Range& range) {
    return context.batch.tokens <= range.most;
  })->kernel->run(context);
}

size_t KernelByTokens::workspace_bytes(const BatchLimits& limits, int threads) const {
  size_t bytes = 0;
  for (const Range& range : ranges_) bytes = std::max(bytes, range.kernel->workspace_bytes(limits, threads));
  return bytes;
}

size_t KernelByTokens::run_workspace_bytes(const BatchLimits& limits, std::span<const TensorView> inputs, int threads) const {
  size_t bytes = 0;
  for (const Range& range : ranges_) bytes = std::max(bytes, range.kernel->run_workspace_bytes(limits, inputs, threads));
  return bytes;
}

bool KernelByTokens::reads_constant(size_t index) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) { return range.kernel->reads_constant(index); });
}

size_t KernelByTokens::packed_bytes() const {
  size_t bytes = 0;
  for (const Range& range : ranges_) bytes = std::max(bytes, range.kernel->packed_bytes());
  return bytes;
}

}  // namespace bertie
