#include "engine/planned_run.h"

#include <algorithm>

#include "engine/memory_plan.h"
#include "engine/planned_values.h"

namespace bertie {

PlannedRun::PlannedRun(const Engine::Impl& engine, const SessionLimits& limits) : engine_(engine) {
  plan_arena(limits);
  make_views();
}

Shape PlannedRun::shape_of(ValueId id) const { return shape_in(batch_, engine_.network.value(id).shape); }

void PlannedRun::plan_arena(const SessionLimits& limits) {
  const Network& network = engine_.network;
  batch_.tokens = limits.tokens;
  batch_.sequences = limits.sequences;
  batch_.longest = limits.longest;
  batch_.rows = limits.rows;

  const PlannedValues planned = plan_values(engine_, batch_, kArenaAlignment);
  size_t scratch = 0;
  const BatchLimits bounds{limits.tokens, limits.sequences, limits.longest, limits.rows};
  for (const EngineStep& step : engine_.steps)
    scratch = std::max(scratch, step.kernel->workspace_bytes(bounds, engine_.pool->threads()));
  arena_bytes_ = planned.bytes + scratch;
  arena_ = allocate_aligned(arena_bytes_, "a session of these limits");
  workspace_ = {arena_.get() + planned.bytes, scratch};

  addresses_.assign(network.value_count(), nullptr);
  for (size_t id = 0; id < addresses_.size(); ++id) {
    if (planned.offsets[id] != SIZE_MAX) addresses_[id] = arena_.get() + planned.offsets[id];
    const auto& constant = network.value(static_cast<ValueId>(id)).constant;
    if (constant) addresses_[id] = const_cast<void*>(constant->data.get());
  }
}

void PlannedRun::make_views() {
  const Network& network = engine_.network;
  const auto network_inputs = network.inputs();
  steps_.resize(engine_.steps.size());
  const auto note_extents = [&](ValueId id, Shape& shape) {
    const SymbolicShape& symbolic = network.value(id).shape;
    for (size_t axis = 0; axis < symbolic.size(); ++axis) {
      if (!symbolic[axis].is_fixed()) extents_.push_back({&shape[static_cast<int>(axis)], extent_source(symbolic[axis])});
    }
  };
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Node& node = network.node(engine_.steps[i].node);
    steps_[i].inputs.resize(node.inputs.size());
    steps_[i].outputs.resize(node.outputs.size());
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const ValueId id = node.inputs[k];
      if (id == kNone) continue;
      TensorView& view = steps_[i].inputs[k];
      view = {addresses_[static_cast<size_t>(id)], engine_.stored[static_cast<size_t>(id)], shape_of(id)};
      note_extents(id, view.shape);
      const auto found = std::find(network_inputs.begin(), network_inputs.end(), id);
      if (found != network_inputs.end()) inputs_.push_back({&view.data, static_cast<size_t>(found - network_inputs.begin())});
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const ValueId id = node.outputs[k];
      MutableTensorView& view = steps_[i].outputs[k];
      view = {addresses_[static_cast<size_t>(id)], engine_.stored[static_cast<size_t>(id)], shape_of(id)};
      note_extents(id, view.shape);
    }
  }
}

void PlannedRun::run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) {
  batch_ = batch;
  for (const RunExtent& extent : extents_) *extent.extent = batch_.*extent.source;
  for (const RunInput& input : inputs_) *input.data = inputs[input.input].data;
  for (size_t i = 0; i < steps_.size(); ++i) {
    run_step(engine_, i, {steps_[i].inputs, steps_[i].outputs, batch_, workspace_, *engine_.pool},
             times.empty() ? nullptr : &times[i]);
  }
}

TensorView PlannedRun::output(ValueId value) const {
  return {addresses_[static_cast<size_t>(value)], engine_.network.value(value).dtype, shape_of(value)};
}

}  // namespace bertie
