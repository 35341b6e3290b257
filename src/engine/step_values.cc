#include "engine/step_values.h"

#include <cmath>
#include <cstring>

#include "base/float_element.h"

namespace bertie {

StepValues::StepValues(const Engine::Impl& engine, Stream* stream)
    : engine_(engine), stream_(stream), values_(engine.network.value_count()) {
  if (engine.device) {
    host_pool_ = BufferPool(engine.device, true);
    device_pool_ = BufferPool(engine.device, false);
  }
  for (size_t id = 0; id < values_.size(); ++id) {
    const auto& constant = engine.network.value(static_cast<ValueId>(id)).constant;
    if (!constant) continue;
    values_[id].shape = constant->shape;
    values_[id].host = constant->data.get();
    values_[id].is_on_host = true;
  }
}

void StepValues::begin_run() {
  if (stream_) wait();  // for what a run that failed left on its way
  for (size_t id = 0; id < values_.size(); ++id) drop(static_cast<ValueId>(id));
  host_pool_.trim();
  device_pool_.trim();
  overflowed_ = false;
}

void StepValues::set_input(ValueId id, const TensorView& view) {
  Own& value = own(id);
  value.shape = view.shape;
  value.host = view.data;
  value.is_on_host = true;
}

void StepValues::drop(ValueId id) {
  if (engine_.network.value(id).constant) return;
  Own& value = own(id);
  if (value.host_buffer != kNoBuffer) host_pool_.release(value.host_buffer);
  if (value.device_buffer != kNoBuffer) device_pool_.release(value.device_buffer);
  value = {};
}

TensorView StepValues::seen(ValueId id) const {
  return {own(id).is_on_host ? own(id).host : nullptr, declared(id), own(id).shape};
}

TensorView StepValues::on_host(ValueId id) {
  if (!own(id).is_on_host) fetch(id);
  return seen(id);
}

void StepValues::fetch(ValueId id) {
  Own& value = own(id);
  const TensorView there{nullptr, stored(id), value.shape};
  BufferPool::Handle buffer = host_pool_.acquire(there.bytes());
  stream_->copy(host_pool_.data(buffer), value.device, there.bytes());
  wait();
  if (there.dtype != declared(id)) {
    const TensorView narrow{host_pool_.data(buffer), there.dtype, value.shape};
    const BufferPool::Handle wide = host_pool_.acquire(TensorView{nullptr, declared(id), value.shape}.bytes());
    auto* floats = reinterpret_cast<float*>(host_pool_.data(wide));
    for (int64_t i = 0; i < value.shape.elements(); ++i) {
      floats[i] = float_element(narrow, static_cast<size_t>(i));
      overflowed_ = overflowed_ || (there.dtype == DType::f16 && !std::isfinite(floats[i]));
    }
    host_pool_.release(buffer);
    buffer = wide;
  }
  value.host_buffer = buffer;
  value.host = host_pool_.data(buffer);
  value.is_on_host = true;
}

TensorView StepValues::on_device(ValueId id) {
  Own& value = own(id);
  if (engine_.network.value(id).constant) return {nullptr, declared(id), value.shape};
  if (!value.is_on_device) {
    // Steps on the host keep their results as the network declares them.
    const size_t bytes = TensorView{nullptr, declared(id), value.shape}.bytes();
    const void* from = value.host;
    if (value.host_buffer == kNoBuffer) {
      std::byte* copy = staging(bytes);
      if (bytes > 0) std::memcpy(copy, from, bytes);
      from = copy;
    } else {
      host_pool_.hold(value.host_buffer);
      in_flight_.push_back(value.host_buffer);
    }
    value.device_buffer = device_pool_.acquire(bytes);
    value.device = device_pool_.data(value.device_buffer);
    value.is_on_device = true;
    stream_->copy(value.device, from, bytes);
  }
  return {value.device, stored(id), value.shape};
}

MutableTensorView StepValues::make(ValueId id, const ConcreteOutput& result, bool device) {
  drop(id);
  Own& value = own(id);
  value.shape = result.shape;
  const DType dtype = device ? stored(id) : result.dtype;
  const size_t bytes = TensorView{nullptr, dtype, result.shape}.bytes();
  if (device) {
    value.device_buffer = device_pool_.acquire(bytes);
    value.device = device_pool_.data(value.device_buffer);
    value.is_on_device = true;
    return {value.device, dtype, result.shape};
  }
  value.host_buffer = host_pool_.acquire(bytes);
  std::byte* memory = host_pool_.data(value.host_buffer);
  value.host = memory;
  value.is_on_host = true;
  return {memory, dtype, result.shape};
}

MutableTensorView StepValues::make_view(ValueId id, const ConcreteOutput& result, ValueId of) {
  drop(id);
  Own& value = own(id);
  value = own(of);
  value.shape = result.shape;
  if (value.host_buffer != kNoBuffer) host_pool_.hold(value.host_buffer);
  if (value.device_buffer != kNoBuffer) device_pool_.hold(value.device_buffer);
  return {const_cast<void*>(value.host), result.dtype, result.shape};
}

void StepValues::keep(ValueId id) {
  const TensorView view = on_host(id);
  Own& value = own(id);
  if (value.host_buffer != kNoBuffer || engine_.network.value(id).constant) return;
  value.host_buffer = host_pool_.acquire(view.bytes());
  std::byte* memory = host_pool_.data(value.host_buffer);
  if (view.bytes() > 0) std::memcpy(memory, view.data, view.bytes());
  value.host = memory;
}

std::byte* StepValues::scratch(size_t bytes) {
  const BufferPool::Handle buffer = device_pool_.acquire(bytes);
  device_pool_.release(buffer);  // the stream's order keeps what takes it next behind this work
  return device_pool_.data(buffer);
}

std::byte* StepValues::staging(size_t bytes) {
  in_flight_.push_back(host_pool_.acquire(bytes));
  return host_pool_.data(in_flight_.back());
}

void StepValues::wait() {
  stream_->synchronize();
  for (const BufferPool::Handle buffer : in_flight_) host_pool_.release(buffer);
  in_flight_.clear();
}

}  // namespace bertie
