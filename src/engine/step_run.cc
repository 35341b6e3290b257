#include "engine/step_run.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include "base/error.h"

namespace bertie {
namespace {

bool is_view(const Network& network, const Node& node) {
  const bool keeps_bytes = node.op == "reshape" || node.op == "squeeze" || node.op == "unsqueeze" || node.op == "cast" ||
                           (node.op == "unary" && node.text("function") == "identity");
  return keeps_bytes && network.value(node.input(0)).dtype == network.value(node.outputs[0]).dtype;
}

int64_t integer(const TensorView& view, int64_t index) {
  return view.dtype == DType::i64 ? view.as<int64_t>()[index] : view.as<int32_t>()[index];
}

}  // namespace

StepRun::StepRun(const Engine::Impl& engine)
    : engine_(engine), values_(engine.network.value_count()), buffers_(engine.network.value_count(), kNoBuffer) {
  const Network& network = engine.network;
  for (size_t id = 0; id < values_.size(); ++id) {
    const auto& constant = network.value(static_cast<ValueId>(id)).constant;
    if (constant) values_[id] = {constant->data.get(), network.value(static_cast<ValueId>(id)).dtype, constant->shape};
  }
  for (const EngineStep& step : engine.steps) {
    const Node& node = network.node(step.node);
    steps_.push_back({ConcreteRule(network, node), is_view(network, node), {}, {}, {}, {}});
    prepare_step(steps_.size() - 1);
  }
  find_last_readers();
}

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

void StepRun::set_buffer(ValueId id, BufferPool::Handle buffer) {
  BufferPool::Handle& own = buffers_[static_cast<size_t>(id)];
  if (own != kNoBuffer) pool_.release(own);
  own = buffer;
}

void StepRun::run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) {
  const Network& network = engine_.network;
  for (size_t id = 0; id < buffers_.size(); ++id) set_buffer(static_cast<ValueId>(id), kNoBuffer);
  pool_.trim();
  symbols_.insert_or_assign("tokens", batch.tokens);
  symbols_.insert_or_assign("batch", batch.sequences);
  symbols_.insert_or_assign("rows", batch.rows);
  for (size_t i = 0; i < inputs.size(); ++i) values_[static_cast<size_t>(network.inputs()[i])] = inputs[i];
  for (size_t i = 0; i < steps_.size(); ++i) run_one(i, batch, times.empty() ? nullptr : &times[i]);
  // Inputs are the caller's for this run alone.
  for (const Network::Output& output : network.outputs()) {
    TensorView& view = values_[static_cast<size_t>(output.value)];
    if (buffers_[static_cast<size_t>(output.value)] != kNoBuffer || network.value(output.value).constant) continue;
    const BufferPool::Handle buffer = pool_.acquire(view.bytes());
    if (view.bytes() > 0) std::memcpy(pool_.data(buffer), view.data, view.bytes());
    view.data = pool_.data(buffer);
    set_buffer(output.value, buffer);
  }
}

void StepRun::run_one(size_t index, const PackedBatch& batch, StepTime* time) {
  const Node& node = engine_.network.node(engine_.steps[index].node);
  Step& step = steps_[index];
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i] != kNone) step.inputs[i] = values_[static_cast<size_t>(node.inputs[i])];
  }
  take_outputs(index, step.rule.infer(step.inputs, symbols_));
  check_step(index);
  if (step.is_view) {
    if (time) *time = {.output = step.outputs[0].shape};
  } else {
    try {
      run_step(engine_, index, {step.inputs, step.outputs, batch, workspace(index, batch), *engine_.pool}, time);
    } catch (const Error& error) {
      fail(error.code(), "{} '{}': {}", node.op, node.name, error.what());
    }
  }
  for (ValueId id : step.last_read) set_buffer(id, kNoBuffer);
}

void StepRun::take_outputs(size_t index, std::span<const ConcreteOutput> results) {
  const Node& node = engine_.network.node(engine_.steps[index].node);
  Step& step = steps_[index];
  step.outputs.clear();
  for (size_t i = 0; i < results.size(); ++i) {
    MutableTensorView& output = step.outputs.emplace_back(MutableTensorView{nullptr, results[i].dtype, results[i].shape});
    const ValueId id = node.outputs[i];
    if (step.is_view) {
      const BufferPool::Handle shared = buffers_[static_cast<size_t>(node.inputs[0])];
      if (shared != kNoBuffer) pool_.hold(shared);
      set_buffer(id, shared);
      output.data = const_cast<void*>(step.inputs[0].data);
    } else {
      const BufferPool::Handle buffer = pool_.acquire(TensorView(output).bytes());
      set_buffer(id, buffer);
      output.data = pool_.data(buffer);
    }
    values_[static_cast<size_t>(id)] = output;
  }
}

// What a kernel relies on and only the run can tell.
void StepRun::check_step(size_t index) const {
  const Node& node = engine_.network.node(engine_.steps[index].node);
  for (const SameExtent& same : steps_[index].same) {
    const int64_t a = values_[static_cast<size_t>(same.a)].shape[same.axis_a];
    const int64_t b = values_[static_cast<size_t>(same.b)].shape[same.axis_b];
    if (a == b) continue;
    const Value& value = engine_.network.value(same.a);
    fail(ErrorCode::invalid_argument, "{} '{}': extent {} is {} in '{}' and {} in '{}'", node.op, node.name,
         value.shape[static_cast<size_t>(same.axis_a)].symbol, a, value.name, b, engine_.network.value(same.b).name);
  }
  const auto check_ids = [&](size_t ids, size_t table) {
    if (node.input(ids) == kNone) return;
    const TensorView& view = steps_[index].inputs[ids];
    const int64_t rows = values_[static_cast<size_t>(node.inputs[table])].shape[0];
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

std::span<std::byte> StepRun::workspace(size_t index, const PackedBatch& batch) {
  // A padded tensor's own extents may be larger than the batch's.
  const Shape& first = steps_[index].inputs.empty() ? Shape() : steps_[index].inputs[0].shape;
  BatchLimits limits{batch.tokens, batch.sequences, batch.longest, batch.rows};
  if (first.rank() > 0) limits.sequences = std::max(limits.sequences, first[0]);
  if (first.rank() > 1) limits.longest = std::max(limits.longest, first[1]);
  if (first.rank() > 0 && first.back() > 0) limits.tokens = std::max(limits.tokens, first.elements() / first.back());
  const size_t bytes = engine_.steps[index].kernel->workspace_bytes(limits, engine_.pool->threads());
  if (bytes > workspace_bytes_) {
    workspace_ = allocate_aligned(bytes, "a run");
    workspace_bytes_ = bytes;
  }
  return {workspace_.get(), bytes};
}

}  // namespace bertie
