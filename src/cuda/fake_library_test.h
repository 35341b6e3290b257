// For tests without a GPU: a library with memory of the host's whose launches do nothing, and which kernel takes a step.
#pragma once

#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "cuda/backend.h"
#include "cuda/cuda_device.h"

namespace bertie::cuda {

template <typename Params>
BertieCudaLauncher fake_launcher(const char* name) {
  return {name, sizeof(Params), [](const void*, int32_t, void*) { return 0; }};
}

inline int fake_capability = 0;  // of the device that is opened next

inline BertieCudaApi fake_api(std::span<const BertieCudaLauncher> launchers) {
  BertieCudaApi api{};
  api.error_text = [](int32_t) { return "the library's words"; };
  api.versions = [](int32_t* driver, int32_t* toolkit) {
    *driver = *toolkit = 13000;
    return 0;
  };
  api.device_count = [](int32_t* count) {
    *count = 1;
    return 0;
  };
  api.open_device = [](int32_t, BertieCudaProperties* properties) {
    properties->major = fake_capability / 10;
    properties->minor = fake_capability % 10;
    properties->multiprocessors = 100;
    return 0;
  };
  api.allocate = [](int32_t, size_t bytes, void** memory) {
    *memory = std::malloc(bytes);
    return 0;
  };
  api.release = [](int32_t, void* memory) { std::free(memory); };
  api.make_stream = [](int32_t, void**) { return 0; };
  api.release_stream = [](int32_t, void*) {};
  api.copy = [](void* to, const void* from, size_t bytes, int32_t, void*) {
    std::memcpy(to, from, bytes);
    return 0;
  };
  api.synchronize = [](void*) { return 0; };
  api.launchers = launchers.data();
  api.launcher_count = static_cast<int32_t>(launchers.size());
  return api;
}

struct Choice {
  std::string kernel, reason, refusals;
  std::unique_ptr<Kernel> step;
};

// What the table's entries say in their order of the node that gives `result`.
// `kept`: how values lie in memory, where it is not as the network has them.
inline Choice choose_kernel(const Network& network, ValueId result, const std::shared_ptr<CudaDevice>& device,
                            const std::vector<std::pair<ValueId, DType>>& kept = {}) {
  const Node& node = network.node(network.value(result).producer);
  std::vector<DType> stored;
  for (size_t i = 0; i < network.value_count(); ++i) stored.push_back(network.value(static_cast<ValueId>(i)).dtype);
  for (const auto& [value, dtype] : kept) stored[static_cast<size_t>(value)] = dtype;
  ThreadPool pool(1);
  Choice choice;
  for (const KernelEntry& entry : cuda_backend().kernels()) {
    if (entry.op != node.op) continue;
    PrepareResult prepared = entry.prepare({network, node, pool, {}, false, device, stored});
    if (const auto* refusal = std::get_if<Refusal>(&prepared)) {
      if (!refusal->reason.empty()) choice.refusals += refusal->reason + "; ";
      continue;
    }
    auto& preparation = std::get<Preparation>(prepared);
    choice.kernel = entry.name;
    choice.reason = preparation.reason;
    choice.step = std::move(preparation.kernel);
    break;
  }
  return choice;
}

}  // namespace bertie::cuda
