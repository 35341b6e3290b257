#include "engine/planned_values.h"

#include "engine/memory_plan.h"

namespace bertie {

PlannedValues plan_values(const Engine::Impl& engine, const PackedBatch& limits, size_t alignment) {
  const Network& network = engine.network;
  std::vector<Lifetime> lifetimes;
  std::vector<size_t> slot(network.value_count(), SIZE_MAX);  // of the values that steps write
  for (size_t i = 0; i < engine.steps.size(); ++i) {
    const Node& node = network.node(engine.steps[i].node);
    for (ValueId id : node.inputs) {
      if (id != kNone && slot[static_cast<size_t>(id)] != SIZE_MAX) lifetimes[slot[static_cast<size_t>(id)]].last_step = i;
    }
    for (ValueId id : node.outputs) {
      slot[static_cast<size_t>(id)] = lifetimes.size();
      const size_t bytes = static_cast<size_t>(shape_in(limits, network.value(id).shape).elements()) *
                           dtype_size(engine.stored[static_cast<size_t>(id)]);
      lifetimes.push_back({bytes, i, i});
    }
  }
  for (const Network::Output& output : network.outputs()) {
    if (slot[static_cast<size_t>(output.value)] != SIZE_MAX)
      lifetimes[slot[static_cast<size_t>(output.value)]].last_step = engine.steps.size();
  }
  const MemoryPlan memory = plan_memory(lifetimes, alignment);
  PlannedValues planned{std::vector<size_t>(network.value_count(), SIZE_MAX), memory.bytes};
  for (size_t id = 0; id < slot.size(); ++id) {
    if (slot[id] != SIZE_MAX) planned.offsets[id] = memory.offsets[slot[id]];
  }
  return planned;
}

}  // namespace bertie
