#include "engine/step_run.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include "base/error.h"
#include "engine/step_cost.h"
#include "network/op.h"

namespace bertie {
namespace {

bool is_view(const Engine::Impl& engine, const Node& node) {
  const Network& network = engine.network;
  const bool keeps_bytes = node.op == "reshape" || node.op == "squeeze" || node.op == "unsqueeze" || node.op == "cast" ||
                           (node.op == "unary" && node.text("function") == "identity");
  return keeps_bytes && network.value(node.input(0)).dtype == network.value(node.outputs[0]).dtype &&
         engine.stored[static_cast<size_t>(node.input(0))] == engine.stored[static_cast<size_t>(node.outputs[0])];
}

int64_t integer(const TensorView& view, int64_t index) {
  return view.dtype == DType::i64 ? view.as<int64_t>()[index] : view.as<int32_t>()[index];
}

}  // namespace

StepRun::StepRun(const Engine::Impl& engine)
    : engine_(engine),
      stream_(engine.device ? engine.device->make_stream() : nullptr),
      values_(engine, stream_.get()),
      lists_(engine),
      tiles_(lists_.size()) {
  const Network& network = engine.network;
  for (const EngineStep& step : engine.steps) {
    const Node& node = network.node(step.node);
    steps_.push_back(
        {ConcreteRule(network, node), is_view(engine, node), node.op == "shape" || node.op == "size", {}, {}, {}, {}});
    prepare_step(steps_.size() - 1);
  }
  find_last_readers();
}

StepRun::~StepRun() = default;

void StepRun::prepare_step(size_t index) {
  const Network& network = engine_.network;
  const Node& node = network.node(engine_.steps[index].node);
  Step& step = steps_[index];
  step.inputs.resize(node.inputs.size());
  // The reference's kernels go by the run's own extents; others were chosen by what the symbols say.
  if (engine_.infos[index].device == "reference") return;
  std::map<std::string, std::pair<ValueId, int>> first;
  const auto note = [&](ValueId id) {
    const SymbolicShape& shape = network.value(id).shape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (shape[axis].is_fixed()) continue;
      const std::pair<ValueId, int> place{id, static_cast<int>(axis)};
      const auto [found, added] = first.try_emplace(shape[axis].symbol, place);
      if (!added) step.same.push_back({found->second.first, id, found->second.second, place.second});
    }
  };
  for (ValueId id : node.inputs) {
    if (id != kNone) note(id);
  }
  for (ValueId id : node.outputs) note(id);
}

void StepRun::find_last_readers() {
  const Network& network = engine_.network;
  std::set<ValueId> read;
  for (const Network::Output& output : network.outputs()) read.insert(output.value);
  for (size_t i = steps_.size(); i-- > 0;) {
    const Node& node = network.node(engine_.steps[i].node);
    for (const auto* values : {&node.inputs, &node.outputs}) {
      for (ValueId id : *values) {
        if (id != kNone && read.insert(id).second) steps_[i].last_read.push_back(id);
      }
    }
  }
}

void StepRun::run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) {
  run_steps(batch, inputs, times, false);
  if (!stream_ || (first_overflow() == kNoOverflow && !values_.overflowed())) return;
  // Some step found what is no finite number: run once more, each step looking at its results, to tell where it began.
  run_steps(batch, inputs, {}, true);
  fail_overflow(engine_.infos[static_cast<size_t>(first_overflow())]);
}

void StepRun::run_steps(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times,
                        bool check_results) {
  const Network& network = engine_.network;
  values_.begin_run();
  symbols_.insert_or_assign("tokens", batch.tokens);
  symbols_.insert_or_assign("batch", batch.sequences);
  symbols_.insert_or_assign("rows", batch.rows);
  for (size_t i = 0; i < inputs.size(); ++i) values_.set_input(network.inputs()[i], inputs[i]);
  if (stream_) {
    lists_.list(batch, inputs);
    stage(batch);
    if (!times.empty() && !timeline_) timeline_ = stream_->make_timeline(2 * steps_.size());
  }
  for (size_t i = 0; i < steps_.size(); ++i) run_one(i, batch, times.empty() ? nullptr : &times[i], check_results);
  for (const Network::Output& output : network.outputs()) values_.keep(output.value);
  if (!stream_) return;
  values_.wait();
  for (size_t i = 0; i < times.size(); ++i) {
    if (engine_.steps[i].on_device && !steps_[i].is_view) times[i].milliseconds = timeline_->milliseconds(2 * i, 2 * i + 1);
  }
}

// Puts what kernels of the device read of the batch into its memory.
void StepRun::stage(const PackedBatch& batch) {
  const BatchCounts counts = counts_of(batch, lists_);
  struct Part {
    const void* from;
    size_t bytes;
  };
  std::vector<Part> parts;
  const auto ids = [&](const int32_t* from, int64_t count) {
    parts.push_back({from, from ? static_cast<size_t>(count) * sizeof(int32_t) : 0});
  };
  parts.push_back({&counts, sizeof(counts)});
  ids(batch.cumulative_lengths, batch.sequences + 1);
  ids(batch.columns, batch.tokens);
  ids(batch.queries_only, batch.sequences);
  for (size_t i = 0; i < lists_.size(); ++i)
    parts.push_back({lists_[i].tiles.data(), lists_[i].tiles.size() * sizeof(QueryTile)});
  size_t bytes = 0;
  std::vector<size_t> offsets;
  for (const Part& part : parts) {
    offsets.push_back(bytes);
    bytes += device_aligned(part.bytes);
  }
  if (on_device_.bytes() < bytes) {
    on_device_ = {};
    on_device_ = DeviceBuffer(engine_.device, bytes + bytes / 2, "a run");
  }
  std::byte* staging = values_.staging(bytes);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].bytes > 0) std::memcpy(staging + offsets[i], parts[i].from, parts[i].bytes);
  }
  stream_->copy(on_device_.data(), staging, bytes);
  const auto ids_at = [&](size_t part) { return reinterpret_cast<const int32_t*>(on_device_.data() + offsets[part]); };
  device_batch_ = batch;
  device_batch_.cumulative_lengths = ids_at(1);
  device_batch_.columns = batch.columns ? ids_at(2) : nullptr;
  device_batch_.queries_only = batch.queries_only ? ids_at(3) : nullptr;
  for (size_t i = 0; i < lists_.size(); ++i)
    tiles_[i] = {reinterpret_cast<const QueryTile*>(on_device_.data() + offsets[4 + i]), lists_[i].tiles.size()};
}

int32_t StepRun::first_overflow() {
  auto* counts = reinterpret_cast<BatchCounts*>(values_.staging(sizeof(BatchCounts)));
  stream_->copy(counts, on_device_.data(), sizeof(BatchCounts));
  values_.wait();
  return counts->overflow;
}

void StepRun::run_one(size_t index, const PackedBatch& batch, StepTime* time, bool check_results) {
  const EngineStep& own = engine_.steps[index];
  const Node& node = engine_.network.node(own.node);
  Step& step = steps_[index];
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id == kNone) continue;
    // A rule reads the elements of small tensors of numbers.
    const bool is_data = !is_index(engine_.network.value(id).dtype) || values_.shape(id).elements() > kKnownElements;
    const bool extents_only = step.extents_only || (is_data && (step.is_view || own.on_device));
    step.inputs[i] = extents_only ? values_.seen(id) : values_.on_host(id);
  }
  const std::span<const ConcreteOutput> results = step.rule.infer(step.inputs, symbols_);
  if (step.is_view) {
    step.outputs.assign(1, values_.make_view(node.outputs[0], results[0], node.inputs[0]));
    check_step(index);
    if (time) *time = {.output = step.outputs[0].shape};
  } else {
    take_outputs(index, results);
    check_step(index);
    try {
      if (own.on_device)
        run_on_device(index, batch, time, check_results);
      else
        run_on_host(index, batch, time);
    } catch (const Error& error) {
      fail(error.code(), "{} '{}': {}", node.op, node.name, error.what());
    }
  }
  for (ValueId id : step.last_read) values_.drop(id);
}

void StepRun::run_on_host(size_t index, const PackedBatch& batch, StepTime* time) {
  const Step& step = steps_[index];
  run_step(engine_, index, {step.inputs, step.outputs, batch, workspace(index, batch), *engine_.pool}, time);
}

void StepRun::run_on_device(size_t index, const PackedBatch& batch, StepTime* time, bool check_results) {
  const EngineStep& own = engine_.steps[index];
  const Node& node = engine_.network.node(own.node);
  Step& step = steps_[index];
  std::vector<TensorView> seen;
  if (time) seen = step.inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNone) continue;
    step.inputs[i] = values_.on_device(node.inputs[i]);
    if (time) seen[i].dtype = step.inputs[i].dtype;
  }
  const size_t bytes = own.kernel->run_workspace_bytes(limits_of(index, batch), step.inputs, 1);
  const std::span<std::byte> scratch(bytes == 0 ? nullptr : values_.scratch(bytes), bytes);
  const size_t list = lists_.of_step(index);
  const DeviceBatch device = batch_of_step(*stream_, reinterpret_cast<BatchCounts*>(on_device_.data()), lists_, index,
                                           list == SIZE_MAX ? std::span<const QueryTile>() : tiles_[list], check_results);
  if (time) {
    *time = step_cost(node, {seen, step.outputs, batch, {}, *engine_.pool});
    time->output = step.outputs[0].shape;
    stream_->push_range(engine_.infos[index].name.c_str());
    stream_->mark(*timeline_, 2 * index);
  }
  own.kernel->run({step.inputs, step.outputs, device_batch_, scratch, *engine_.pool, &device});
  if (time) {
    stream_->mark(*timeline_, 2 * index + 1);
    stream_->pop_range();
  }
}

void StepRun::take_outputs(size_t index, std::span<const ConcreteOutput> results) {
  const EngineStep& own = engine_.steps[index];
  const Node& node = engine_.network.node(own.node);
  Step& step = steps_[index];
  step.outputs.clear();
  for (size_t i = 0; i < results.size(); ++i) step.outputs.push_back(values_.make(node.outputs[i], results[i], own.on_device));
}

// What a kernel relies on and only the run can tell.
void StepRun::check_step(size_t index) {
  const Node& node = engine_.network.node(engine_.steps[index].node);
  for (const SameExtent& same : steps_[index].same) {
    const int64_t a = values_.shape(same.a)[same.axis_a];
    const int64_t b = values_.shape(same.b)[same.axis_b];
    if (a == b) continue;
    const Value& value = engine_.network.value(same.a);
    fail(ErrorCode::invalid_argument, "{} '{}': extent {} is {} in '{}' and {} in '{}'", node.op, node.name,
         value.shape[static_cast<size_t>(same.axis_a)].symbol, a, value.name, b, engine_.network.value(same.b).name);
  }
  const auto check_ids = [&](size_t ids, size_t table) {
    if (node.input(ids) == kNone) return;
    const TensorView view = values_.on_host(node.inputs[ids]);
    const int64_t rows = values_.shape(node.inputs[table])[0];
    for (int64_t i = 0; i < view.shape.elements(); ++i) {
      const int64_t id = integer(view, i);
      if (id < 0 || id >= rows) {
        fail(ErrorCode::invalid_argument, "{} '{}': id {} in '{}': out of range [0, {})", node.op, node.name, id,
             engine_.network.value(node.inputs[ids]).name, rows);
      }
    }
  };
  if (node.op == "attention" && node.input(4) != kNone && steps_[index].inputs[0].shape.rank() == 3) {
    const int64_t columns = steps_[index].inputs[0].shape[1], places = (steps_[index].inputs[4].shape[1] + 1) / 2;
    if (columns > places)
      fail(ErrorCode::invalid_argument, "attention '{}': {} columns: its relative bias has {}", node.name, columns, places);
  }
  if (node.op == "embedding") check_ids(1, 0);
  if (node.op == "embedding_layer_norm") {
    for (size_t i = 0; i < 3; ++i) check_ids(i, i + 3);
  }
}

// A padded tensor's own extents may be larger than the batch's.
BatchLimits StepRun::limits_of(size_t index, const PackedBatch& batch) const {
  const Shape& first = steps_[index].inputs.empty() ? Shape() : steps_[index].inputs[0].shape;
  BatchLimits limits{batch.tokens, batch.sequences, batch.longest, batch.rows};
  if (first.rank() > 0) limits.sequences = std::max(limits.sequences, first[0]);
  if (first.rank() > 1) limits.longest = std::max(limits.longest, first[1]);
  if (first.rank() > 0 && first.back() > 0) limits.tokens = std::max(limits.tokens, first.elements() / first.back());
  return limits;
}

std::span<std::byte> StepRun::workspace(size_t index, const PackedBatch& batch) {
  const int threads = engine_.pool->threads();
  const size_t bytes = engine_.steps[index].kernel->run_workspace_bytes(limits_of(index, batch), steps_[index].inputs, threads);
  if (bytes > workspace_bytes_) {
    workspace_ = allocate_aligned(bytes, "a run");
    workspace_bytes_ = bytes;
  }
  return {workspace_.get(), bytes};
}

}  // namespace bertie
