// Times kernels of a device that take the same step, one beside the other.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "engine/time_kernels.h"

namespace bertie {

// Runs each on the same random activations of several token counts, from tens to thousands, in turns and with caches that hold nothing of
// it, and keeps the shortest time by the device's events. `stored`: how each value lies in memory, by its id. nullopt where the step
// cannot be run apart, or the device has no memory for it: an input that is neither constant nor float, an extent that only a run knows, lists of
// query tiles.
std::optional<KernelTimes> time_device_kernels(const Network& network, const Node& node, std::span<const NamedKernel> kernels,
                                               std::span<const DType> stored, const std::shared_ptr<Device>& device,
                                               ThreadPool& pool);

}  // namespace bertie
