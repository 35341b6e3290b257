#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "engine/batch_check.h"
#include "engine/engine_impl.h"
#include "engine/memory_plan.h"
#include "engine/step_cost.h"

namespace bertie {
namespace {

struct AlignedFree {
  void operator()(std::byte* memory) const { std::free(memory); }
};
using Arena = std::unique_ptr<std::byte[], AlignedFree>;

Arena allocate(size_t bytes) {
  const size_t rounded = (std::max<size_t>(bytes, 1) + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
  Arena arena(static_cast<std::byte*>(std::aligned_alloc(kArenaAlignment, rounded)));
  if (!arena)
    fail(ErrorCode::out_of_memory, "a session of these limits needs {:.1f} MB of workspace", static_cast<double>(rounded) / 1e6);
  return arena;
}

// Where a run's extent comes from.
using ExtentSource = int64_t PackedBatch::*;

ExtentSource extent_source(const std::string& symbol) {
  if (symbol == "tokens") return &PackedBatch::tokens;
  if (symbol == "rows") return &PackedBatch::rows;
  if (symbol == "batch") return &PackedBatch::sequences;
  fail(ErrorCode::unsupported, "extent '{}' of a packed network", symbol);
}

int64_t extent(const Dim& dim, const PackedBatch& batch) { return dim.is_fixed() ? dim.size : batch.*extent_source(dim.symbol); }

}  // namespace

struct Session::Impl {
  std::shared_ptr<const Engine> engine;
  const Engine::Impl* plan = nullptr;
  SessionLimits limits;
  Arena arena;  // activations, then kernels' workspace
  size_t arena_bytes = 0;
  std::span<std::byte> workspace;
  std::vector<int32_t> default_types, default_positions;

  struct Step {
    std::vector<TensorView> inputs;
    std::vector<MutableTensorView> outputs;
  };
  std::vector<void*> addresses;  // of each value; nullptr for network inputs
  std::vector<Step> steps;
  // What a run sets in the views above, found once.
  struct DynamicExtent {
    int64_t* extent;
    ExtentSource source;
  };
  struct DynamicInput {
    const void** data;
    ValueId input;
  };
  std::vector<DynamicExtent> dynamic_extents;
  std::vector<DynamicInput> dynamic_inputs;
  PackedBatch packed;
  bool profiling = false;
  std::vector<StepTime> times;

  void plan_arena();
  void make_views();
  void bind(const Batch& batch);
  std::span<const int32_t> input_ids(std::string_view name, const Batch& batch);
  Shape shape_of(ValueId id) const {
    const SymbolicShape& symbolic = plan->network.value(id).shape;
    std::array<int64_t, Shape::kMaxRank> extents{};
    for (size_t i = 0; i < symbolic.size(); ++i) extents[i] = extent(symbolic[i], packed);
    return Shape(std::span<const int64_t>(extents.data(), symbolic.size()));
  }
};

Session::Session(std::shared_ptr<const Engine> engine, const SessionLimits& limits) : impl_(std::make_unique<Impl>()) {
  Impl& s = *impl_;
  s.engine = std::move(engine);
  s.plan = s.engine->impl_.get();
  s.limits = limits;
  if (limits.tokens < 0 || limits.sequences < 0 || limits.longest < 0 || limits.rows < 0) {
    fail(ErrorCode::invalid_argument, "session limits: {} tokens, {} sequences, longest {}, {} rows: none may be negative",
         limits.tokens, limits.sequences, limits.longest, limits.rows);
  }
  if (s.limits.rows == 0) s.limits.rows = limits.tokens;
  s.default_types.assign(static_cast<size_t>(limits.tokens), 0);
  s.default_positions.resize(static_cast<size_t>(limits.tokens));
  s.plan_arena();
  s.make_views();
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

void Session::Impl::plan_arena() {
  const Network& network = plan->network;
  packed.tokens = limits.tokens;
  packed.sequences = limits.sequences;
  packed.longest = limits.longest;
  packed.rows = limits.rows;

  std::vector<Lifetime> lifetimes;
  std::vector<size_t> slot(network.value_count(), SIZE_MAX);  // of the values that steps write
  addresses.assign(network.value_count(), nullptr);
  for (size_t i = 0; i < plan->steps.size(); ++i) {
    const Node& node = network.node(plan->steps[i].node);
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
      lifetimes[slot[static_cast<size_t>(output.value)]].last_step = plan->steps.size();
  }
  const MemoryPlan memory = plan_memory(lifetimes);

  size_t scratch = 0;
  const BatchLimits bounds{limits.tokens, limits.sequences, limits.longest, limits.rows};
  for (const EngineStep& step : plan->steps)
    scratch = std::max(scratch, step.kernel->workspace_bytes(bounds, plan->pool->threads()));
  arena_bytes = memory.bytes + scratch;
  arena = allocate(arena_bytes);
  workspace = {arena.get() + memory.bytes, scratch};

  for (size_t id = 0; id < addresses.size(); ++id) {
    if (slot[id] != SIZE_MAX) addresses[id] = arena.get() + memory.offsets[slot[id]];
    const auto& constant = network.value(static_cast<ValueId>(id)).constant;
    if (constant) addresses[id] = const_cast<void*>(constant->data.get());
  }
}

void Session::Impl::make_views() {
  const Network& network = plan->network;
  steps.resize(plan->steps.size());
  times.resize(plan->steps.size());
  const auto note_extents = [&](ValueId id, Shape& shape) {
    const SymbolicShape& symbolic = network.value(id).shape;
    for (size_t axis = 0; axis < symbolic.size(); ++axis) {
      if (!symbolic[axis].is_fixed())
        dynamic_extents.push_back({&shape[static_cast<int>(axis)], extent_source(symbolic[axis].symbol)});
    }
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const Node& node = network.node(plan->steps[i].node);
    steps[i].inputs.resize(node.inputs.size());
    steps[i].outputs.resize(node.outputs.size());
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const ValueId id = node.inputs[k];
      if (id == kNone) continue;
      TensorView& view = steps[i].inputs[k];
      view = {addresses[static_cast<size_t>(id)], network.value(id).dtype, shape_of(id)};
      note_extents(id, view.shape);
      if (network.value(id).producer == kNone && !network.value(id).constant) dynamic_inputs.push_back({&view.data, id});
    }
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const ValueId id = node.outputs[k];
      MutableTensorView& view = steps[i].outputs[k];
      view = {addresses[static_cast<size_t>(id)], network.value(id).dtype, shape_of(id)};
      note_extents(id, view.shape);
    }
  }
}

// Ids lie in the caller's batch, or in defaults made here.
std::span<const int32_t> Session::Impl::input_ids(std::string_view name, const Batch& batch) {
  if (name == "input_ids") return batch.token_ids;
  if (name == "head_rows") return batch.head_rows;
  if (name == "first_rows") return batch.cumulative_lengths;  // entry b is the first row of sequence b
  if (name == "token_type_ids") return batch.type_ids.empty() ? std::span<const int32_t>(default_types) : batch.type_ids;
  if (!batch.position_ids.empty()) return batch.position_ids;
  fill_positions(batch, plan->position_rule, default_positions);
  return default_positions;
}

void Session::Impl::bind(const Batch& batch) {
  packed.tokens = static_cast<int64_t>(batch.token_ids.size());
  packed.sequences = static_cast<int64_t>(batch.cumulative_lengths.size()) - 1;
  packed.rows = static_cast<int64_t>(batch.head_rows.size());
  packed.longest = longest_sequence(batch);
  packed.cumulative_lengths = batch.cumulative_lengths.data();
  packed.columns = batch.columns.empty() ? nullptr : batch.columns.data();
  packed.queries_only = batch.queries_only.empty() ? nullptr : batch.queries_only.data();
  for (const DynamicExtent& dynamic : dynamic_extents) *dynamic.extent = packed.*dynamic.source;
  for (const DynamicInput& dynamic : dynamic_inputs)
    *dynamic.data = input_ids(plan->network.value(dynamic.input).name, batch).data();
}

void Session::run(const Batch& batch) {
  Impl& s = *impl_;
  const Engine::Impl& plan = *s.plan;
  check_batch(batch, s.limits, plan);
  s.bind(batch);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const KernelContext context{s.steps[i].inputs, s.steps[i].outputs, s.packed, s.workspace, *plan.pool};
    if (!s.profiling) {
      plan.steps[i].kernel->run(context);
      continue;
    }
    const auto start = std::chrono::steady_clock::now();
    plan.steps[i].kernel->run(context);
    s.times[i] = step_cost(plan.network.node(plan.steps[i].node), context);
    s.times[i].milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
}

TensorView Session::output(std::string_view name) const {
  const Network& network = impl_->plan->network;
  for (const Network::Output& output : network.outputs()) {
    if (output.name != name) continue;
    return {impl_->addresses[static_cast<size_t>(output.value)], network.value(output.value).dtype,
            impl_->shape_of(output.value)};
  }
  std::vector<std::string_view> names;
  for (const Network::Output& output : network.outputs()) names.push_back(output.name);
  fail(ErrorCode::not_found, "no output '{}': this engine has {}", name, fmt::join(names, ", "));
}

const SessionLimits& Session::limits() const { return impl_->limits; }
const Engine& Session::engine() const { return *impl_->engine; }
size_t Session::workspace_bytes() const { return impl_->arena_bytes; }
void Session::set_profiling(bool on) { impl_->profiling = on; }
std::span<const StepTime> Session::step_times() const { return impl_->times; }

}  // namespace bertie
