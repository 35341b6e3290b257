#include "engine/device_run.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "engine/buckets.h"
#include "engine/network_inputs.h"
#include "engine/planned_values.h"
#include "engine/step_cost.h"

namespace bertie {
namespace {

// Batches of a few sequences share graphs.
constexpr int64_t kLeastSequences = 8, kLeastTiles = 8;

}  // namespace

DeviceRun::DeviceRun(const Engine::Impl& engine, const SessionLimits& limits) : engine_(engine), lists_(engine) {
  most_.tokens = row_bucket(limits.tokens);
  most_.sequences = entry_bucket(limits.sequences, kLeastSequences);
  most_.rows = row_bucket(limits.rows);
  most_.longest = limits.longest;
  stream_ = engine.device->make_stream();
  plan_arena();
}

DeviceRun::~DeviceRun() = default;

void DeviceRun::plan_arena() {
  const Network& network = engine_.network;
  const BatchLimits bounds{most_.tokens, most_.sequences, most_.longest, most_.rows};
  Capacity most{most_.tokens, most_.sequences, most_.rows, true, true, {}};
  for (size_t i = 0; i < lists_.size(); ++i) {
    TileLists::List& list = lists_[i];
    const bool all = list.queries() == Queries::all;
    const int64_t rows = all ? 0 : shape_in(most_, network.value(network.inputs()[list.input]).shape).elements();
    const int64_t tiles = most_tiles(bounds, list.queries(), rows, list.block);
    list.tiles.reserve(static_cast<size_t>(tiles));
    most.tiles[i] = entry_bucket(tiles, kLeastTiles);
  }
  const size_t staged = layout_of(most).bytes;
  PlannedValues planned = plan_values(engine_, most_, kDeviceAlignment);
  offsets_ = std::move(planned.offsets);
  size_t scratch = 0;
  for (const EngineStep& step : engine_.steps) scratch = std::max(scratch, step.kernel->workspace_bytes(bounds, 1));
  size_t results = device_aligned(sizeof(BatchCounts));
  for (const Network::Output& output : network.outputs()) {
    result_offsets_.push_back(results);
    const Value& value = network.value(output.value);
    results += device_aligned(static_cast<size_t>(shape_in(most_, value.shape).elements()) * dtype_size(value.dtype));
  }
  constexpr const char* kPurpose = "a session of these limits";
  staging_ = DeviceBuffer(engine_.device, staged, kPurpose, true);
  results_ = DeviceBuffer(engine_.device, results, kPurpose, true);
  arena_ = DeviceBuffer(engine_.device, device_aligned(staged) + planned.bytes + scratch, kPurpose);
  values_ = arena_.data() + device_aligned(staged);
  workspace_ = {values_ + planned.bytes, scratch};
  // Rows that are not live are computed too: from numbers.
  stream_->fill(arena_.data(), 0, arena_.bytes());
  stream_->synchronize();
}

DeviceRun::Capacity DeviceRun::capacity_of(const PackedBatch& batch) const {
  Capacity capacity{row_bucket(batch.tokens),      entry_bucket(batch.sequences, kLeastSequences),
                    row_bucket(batch.rows),        batch.columns != nullptr,
                    batch.queries_only != nullptr, {}};
  for (size_t i = 0; i < lists_.size(); ++i)
    capacity.tiles[i] = entry_bucket(static_cast<int64_t>(lists_[i].tiles.size()), kLeastTiles);
  return capacity;
}

PackedBatch DeviceRun::extents_of(const Capacity& capacity) const {
  PackedBatch extents;
  extents.tokens = capacity.tokens;
  extents.sequences = capacity.sequences;
  extents.rows = capacity.rows;
  extents.longest = std::min(capacity.tokens, most_.longest);
  return extents;
}

DeviceRun::Layout DeviceRun::layout_of(const Capacity& capacity) const {
  Layout layout;
  size_t bytes = device_aligned(sizeof(BatchCounts));
  const auto place = [&](size_t own) {
    const size_t offset = bytes;
    bytes += device_aligned(own);
    return offset;
  };
  layout.cumulative_lengths = place(static_cast<size_t>(capacity.sequences + 1) * sizeof(int32_t));
  if (capacity.columns) layout.columns = place(static_cast<size_t>(capacity.tokens) * sizeof(int32_t));
  if (capacity.queries_only) layout.queries_only = place(static_cast<size_t>(capacity.sequences) * sizeof(int32_t));
  for (size_t i = 0; i < lists_.size(); ++i)
    layout.tiles.push_back(place(static_cast<size_t>(capacity.tiles[i]) * sizeof(QueryTile)));
  const Network& network = engine_.network;
  const PackedBatch extents = extents_of(capacity);
  for (ValueId id : network.inputs()) {
    if (!is_read(network, id)) {
      layout.inputs.push_back(SIZE_MAX);
      continue;
    }
    const Value& value = network.value(id);
    layout.inputs.push_back(place(static_cast<size_t>(shape_in(extents, value.shape).elements()) * dtype_size(value.dtype)));
  }
  layout.bytes = bytes;
  return layout;
}

void DeviceRun::stage(const Layout& layout, const Capacity& capacity, const PackedBatch& batch,
                      std::span<const TensorView> inputs) {
  std::byte* memory = staging_.data();
  // What is left of a capacity is zeros: valid ids, and rows of the first token.
  const auto put = [&](size_t offset, const void* from, size_t bytes, size_t room) {
    if (bytes > 0) std::memcpy(memory + offset, from, bytes);
    std::memset(memory + offset + bytes, 0, room - bytes);
  };
  const auto put_ids = [&](size_t offset, const int32_t* from, int64_t count, int64_t room) {
    put(offset, from, static_cast<size_t>(count) * sizeof(int32_t), static_cast<size_t>(room) * sizeof(int32_t));
  };
  const BatchCounts counts = counts_of(batch, lists_);
  for (size_t i = 0; i < lists_.size(); ++i) {
    const auto& tiles = lists_[i].tiles;
    put(layout.tiles[i], tiles.data(), tiles.size() * sizeof(QueryTile), tiles.size() * sizeof(QueryTile));
  }
  put(0, &counts, sizeof(counts), sizeof(counts));
  put_ids(layout.cumulative_lengths, batch.cumulative_lengths, batch.sequences + 1, capacity.sequences + 1);
  if (batch.columns) put_ids(layout.columns, batch.columns, batch.tokens, capacity.tokens);
  if (batch.queries_only) put_ids(layout.queries_only, batch.queries_only, batch.sequences, capacity.sequences);
  const Network& network = engine_.network;
  const PackedBatch extents = extents_of(capacity);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (layout.inputs[i] == SIZE_MAX) continue;
    const Value& value = network.value(network.inputs()[i]);
    const size_t room = static_cast<size_t>(shape_in(extents, value.shape).elements()) * dtype_size(value.dtype);
    put(layout.inputs[i], inputs[i].data, inputs[i].bytes(), room);
  }
}

void DeviceRun::enqueue_step(size_t index, const PackedBatch& extents, const Capacity& capacity, const Layout& layout,
                             bool check_results) {
  const Network& network = engine_.network;
  const EngineStep& step = engine_.steps[index];
  const Node& node = network.node(step.node);
  const auto network_inputs = network.inputs();
  const auto address = [&](ValueId id) -> std::byte* {
    if (offsets_[static_cast<size_t>(id)] != SIZE_MAX) return values_ + offsets_[static_cast<size_t>(id)];
    const auto found = std::find(network_inputs.begin(), network_inputs.end(), id);
    if (found == network_inputs.end()) return nullptr;  // a constant, which kernels keep themselves
    return arena_.data() + layout.inputs[static_cast<size_t>(found - network_inputs.begin())];
  };
  std::vector<TensorView> inputs(node.inputs.size());
  std::vector<MutableTensorView> outputs(node.outputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id != kNone)
      inputs[i] = {address(id), engine_.stored[static_cast<size_t>(id)], shape_in(extents, network.value(id).shape)};
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const ValueId id = node.outputs[i];
    outputs[i] = {address(id), engine_.stored[static_cast<size_t>(id)], shape_in(extents, network.value(id).shape)};
  }
  std::span<const QueryTile> tiles;
  if (const size_t list = lists_.of_step(index); list != SIZE_MAX)
    tiles = {reinterpret_cast<const QueryTile*>(arena_.data() + layout.tiles[list]), static_cast<size_t>(capacity.tiles[list])};
  const DeviceBatch device =
      batch_of_step(*stream_, reinterpret_cast<BatchCounts*>(arena_.data()), lists_, index, tiles, check_results);
  step.kernel->run({inputs, outputs, extents, workspace_, *engine_.pool, &device});
}

void DeviceRun::enqueue_steps(const Capacity& capacity, const Layout& layout, Timeline* timeline, bool check_results) {
  PackedBatch extents = extents_of(capacity);
  const auto ids_at = [&](size_t offset) { return reinterpret_cast<const int32_t*>(arena_.data() + offset); };
  extents.cumulative_lengths = ids_at(layout.cumulative_lengths);
  if (capacity.columns) extents.columns = ids_at(layout.columns);
  if (capacity.queries_only) extents.queries_only = ids_at(layout.queries_only);

  if (timeline) stream_->mark(*timeline, 0);
  for (size_t i = 0; i < engine_.steps.size(); ++i) {
    if (timeline) stream_->push_range(engine_.infos[i].name.c_str());
    enqueue_step(i, extents, capacity, layout, check_results);
    if (!timeline) continue;
    stream_->pop_range();
    stream_->mark(*timeline, i + 1);
  }
}

void DeviceRun::enqueue(const Capacity& capacity, const Layout& layout, Timeline* timeline, bool check_results) {
  stream_->copy(arena_.data(), staging_.data(), layout.bytes);
  enqueue_steps(capacity, layout, timeline, check_results);
  const Network& network = engine_.network;
  const PackedBatch extents = extents_of(capacity);
  for (size_t i = 0; i < network.outputs().size(); ++i) {
    const ValueId id = network.outputs()[i].value;
    if (offsets_[static_cast<size_t>(id)] == SIZE_MAX) continue;  // a constant
    const size_t bytes = static_cast<size_t>(shape_in(extents, network.value(id).shape).elements()) *
                         dtype_size(engine_.stored[static_cast<size_t>(id)]);
    stream_->copy(results_.data() + result_offsets_[i], values_ + offsets_[static_cast<size_t>(id)], bytes);
  }
  stream_->copy(results_.data(), arena_.data(), sizeof(BatchCounts));
}

template <typename Enqueue>
std::unique_ptr<DeviceGraph> DeviceRun::record(Enqueue enqueue) {
  stream_->begin_capture();
  try {
    enqueue();
  } catch (...) {
    stream_->abandon_capture();
    throw;
  }
  return stream_->end_capture();
}

void DeviceRun::make_room() {
  if (works_.size() < kMostGraphs) return;
  works_.erase(std::min_element(works_.begin(), works_.end(),
                                [](const auto& a, const auto& b) { return a.second.last_run < b.second.last_run; }));
}

std::pair<DeviceRun::Work&, bool> DeviceRun::prepare(const PackedBatch& batch, std::span<const TensorView> inputs) {
  lists_.list(batch, inputs);
  wanted_ = capacity_of(batch);
  auto found = works_.find(wanted_);
  const bool first = found == works_.end();
  if (first) {
    make_room();
    found = works_.try_emplace(wanted_, Work{layout_of(wanted_), nullptr, 0}).first;
  }
  Work& work = found->second;
  work.last_run = ++runs_;
  batch_ = batch;
  stage(work.layout, wanted_, batch, inputs);
  return {work, first};
}

void DeviceRun::run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) {
  const auto prepared = prepare(batch, inputs);
  Work& work = prepared.first;  // not a structured binding: clang before 16 lets no lambda capture one
  const bool first = prepared.second;
  if (!times.empty()) {
    if (!timeline_) timeline_ = stream_->make_timeline(engine_.steps.size() + 1);
    enqueue(wanted_, work.layout, timeline_.get());
  } else if (first) {
    enqueue(wanted_, work.layout, nullptr);
  } else {
    if (!work.graph) work.graph = record([&] { enqueue(wanted_, work.layout, nullptr); });
    stream_->launch(*work.graph);
  }
  stream_->synchronize();
  if (!times.empty()) report(inputs, times);
  if (reinterpret_cast<const BatchCounts*>(results_.data())->overflow != kNoOverflow) find_overflow(work.layout);
}

std::vector<double> DeviceRun::device_times(const PackedBatch& batch, std::span<const TensorView> inputs, int runs) {
  // As many repeats are put on the stream at once as keep the device busy: between marks it then waits for nobody.
  constexpr size_t kTogether = 16;
  const Work& work = prepare(batch, inputs).first;
  stream_->copy(arena_.data(), staging_.data(), work.layout.bytes);
  enqueue_steps(wanted_, work.layout, nullptr, false);
  stream_->synchronize();
  const auto graph = record([&] { enqueue_steps(wanted_, work.layout, nullptr, false); });
  const auto timeline = stream_->make_timeline(kTogether + 1);
  std::vector<double> times;
  while (times.size() < static_cast<size_t>(runs)) {
    for (size_t place = 0; place <= kTogether; ++place) {
      stream_->launch(*graph);
      stream_->mark(*timeline, place);
    }
    stream_->synchronize();
    for (size_t place = 0; place < kTogether; ++place) times.push_back(timeline->milliseconds(place, place + 1));
  }
  times.resize(static_cast<size_t>(runs));
  return times;
}

// Some step found what is no finite number: run once more, each step looking at its results, to tell where it began.
void DeviceRun::find_overflow(const Layout& layout) {
  enqueue(wanted_, layout, nullptr, true);
  stream_->synchronize();
  const int32_t first = reinterpret_cast<const BatchCounts*>(results_.data())->overflow;
  fail_overflow(engine_.infos[static_cast<size_t>(first)]);
}

void DeviceRun::report(std::span<const TensorView> inputs, std::span<StepTime> times) const {
  const Network& network = engine_.network;
  const auto network_inputs = network.inputs();
  for (size_t i = 0; i < times.size(); ++i) {
    const Node& node = network.node(engine_.steps[i].node);
    std::vector<TensorView> views(node.inputs.size());
    std::vector<MutableTensorView> outputs(node.outputs.size());
    for (size_t k = 0; k < views.size(); ++k) {
      const ValueId id = node.inputs[k];
      if (id == kNone) continue;
      const auto found = std::find(network_inputs.begin(), network_inputs.end(), id);
      if (found != network_inputs.end()) views[k].data = inputs[static_cast<size_t>(found - network_inputs.begin())].data;
      views[k].dtype = engine_.stored[static_cast<size_t>(id)];
      views[k].shape = shape_in(batch_, network.value(id).shape);
    }
    for (size_t k = 0; k < outputs.size(); ++k) {
      const ValueId id = node.outputs[k];
      outputs[k] = {nullptr, engine_.stored[static_cast<size_t>(id)], shape_in(batch_, network.value(id).shape)};
    }
    times[i] = step_cost(node, {views, outputs, batch_, {}, *engine_.pool});
    times[i].milliseconds = timeline_->milliseconds(i, i + 1);
    times[i].output = outputs[0].shape;
  }
}

TensorView DeviceRun::output(ValueId value) const {
  const Network& network = engine_.network;
  const Value& own = network.value(value);
  if (own.constant) return own.constant->view();
  const auto outputs = network.outputs();
  const auto found = std::find_if(outputs.begin(), outputs.end(), [&](const Network::Output& o) { return o.value == value; });
  return {results_.data() + result_offsets_[static_cast<size_t>(found - outputs.begin())], own.dtype,
          shape_in(batch_, own.shape)};
}

}  // namespace bertie
