#include "engine/planned_run.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "engine/memory_plan.h"

namespace bertie {
namespace {

// Where a run's extent comes from; nullptr: not from the batch.
using ExtentSource = int64_t PackedBatch::*;
ExtentSource extent_source(const std::string& symbol) {
  if (symbol == "tokens") return &PackedBatch::tokens;
  if (symbol == "rows") return &PackedBatch::rows;
  if (symbol == "batch") return &PackedBatch::sequences;
  return nullptr;
}

}  // namespace

bool is_batch_extent(const Dim& dim) { return !dim.is_fixed() && extent_source(dim.symbol); }

PlannedRun::PlannedRun(const Engine::Impl& engine, const SessionLimits& limits) : engine_(engine) {
  plan_arena(limits);
  make_views();
}

Shape PlannedRun::shape_of(ValueId id) const {
  const SymbolicShape& symbolic = engine_.network.value(id).shape;
  std::array<int64_t, Shape::kMaxRank> extents{};
  for (size_t i = 0; i < symbolic.size(); ++i)
    extents[i] = symbolic[i].is_fixed() ? symbolic[i].size : batch_.*extent_source(symbolic[i].symbol);
  return Shape(std::span<const int64_t>(extents.data(), symbolic.size()));
}

void PlannedRun::plan_arena(const SessionLimits& limits) {
  const Network& network = engine_.network;
  batch_.tokens = limits.tokens;
  batch_.sequences = limits.sequences;
  batch_.longest = limits.longest;
  batch_.rows = limits.rows;

  std::vector<Lifetime> lifetimes;
  std::vector<size_t> slot(network.value_count(), SIZE_MAX);  // of the values that steps write
  addresses_.assign(network.value_count(), nullptr);
  for (size_t i = 0; i < engine_.steps.size(); ++i) {
    const Node& node = network.node(engine_.steps[i].node);
    for (ValueId id : node.inputs) {
      if (id != kNone && slot[static_cast<size_t>(id)] != SIZE_MAX) lifetimes[slot[static_cast<size_t>(id)]].last_step = i;
    }
    for (ValueId id : node.outputs) {
      slot[static_cast<size_t>(id)] = lifetimes.size();
      const size_t bytes = static_cast<size_t>(shape_of(id).elements()) * dtype_size(network.value(id).dtype);
      lifetimes.push_back({bytes, i, i});
    }
  }
  for (const Network::Output& output : network.outputs()) {
    if (slot[static_cast<size_t>(output.value)] != SIZE_MAX)
      lifetimes[slot[static_cast<size_t>(output.value)]].last_step = engine_.steps.size();
  }
  const MemoryPlan memory = plan_memory(lifetimes);

  size_t scratch = 0;
  const BatchLimits bounds{limits.tokens, limits.sequences, limits.longest, limits.rows};
  for (const EngineStep& step : engine_.steps)
    scratch = std::max(scratch, step.kernel->workspace_bytes(bounds, engine_.pool->threads()));
  arena_bytes_ = memory.bytes + scratch;
  arena_ = allocate_aligned(arena_bytes_, "a session of these limits");
  workspace_ = {arena_.get() + memory.bytes, scratch};

  for (size_t id = 0; id < addresses_.size(); ++id) {
    if (slot[id] != SIZE_MAX) addresses_[id] = arena_.get() + memory.offsets[slot[id]];
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
      if (!symbolic[axis].is_fixed()) extents_.push_back({&shape[static_cast<int>(axis)], extent_source(symbolic[axis].symbol)});
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
      view = {addresses_[static_cast<size_t>(id)], network.value(id).dtype, shape_of(id)};
      note_extents(id, view.shape);
      const auto found = std::find(network_inputs.begin(), network_inputs.end(), id);
      if (found != network_inputs.end()) inputs_.push_back({&view.data, static_cast<size_t>(found - network_inputs.begin())});
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const ValueId id = node.outputs[k];
      MutableTensorView& view = steps_[i].outputs[k];
      view = {addresses_[static_cast<size_t>(id)], network.value(id).dtype, shape_of(id)};
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
