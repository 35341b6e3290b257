// Times kernels that take the same step, one beside the other.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "backend/kernel.h"
#include "backend/kernel_timings.h"

namespace bertie {

struct NamedKernel {
  std::string name;
  const Kernel* kernel;
};

// Runs each on the same random activations of a few token counts, in turns, and keeps the shortest time. nullopt where the step
// cannot be run apart: an input that is neither constant nor f32 (ids must fit a table), an extent that only a run knows.
std::optional<KernelTimes> time_kernels(const Network& network, const Node& node, std::span<const NamedKernel> kernels,
                                        ThreadPool& pool);

// One figure a kernel, the geometric mean over the token counts: no count outweighs the others.
double mean_milliseconds(const std::vector<double>& milliseconds);

}  // namespace bertie
