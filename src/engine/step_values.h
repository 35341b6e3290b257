// Where the values of a step-by-step run lie: in the host's memory, in the device's, or in both, brought across when a step asks.
#pragma once

#include <memory>
#include <vector>

#include "engine/buffer_pool.h"
#include "engine/engine_impl.h"
#include "network/concrete_rule.h"

namespace bertie {

class StepValues {
 public:
  // `stream`: of the engine's device, where it has one.
  StepValues(const Engine::Impl& engine, Stream* stream);

  // Forgets the values of the last run, save the constants.
  void begin_run();
  // The caller's memory, for one run.
  void set_input(ValueId id, const TensorView& view);

  const Shape& shape(ValueId id) const { return own(id).shape; }
  // Null data where its elements are not on the host, of the type that the network says.
  TensorView seen(ValueId id) const;
  // What is only on the device is waited for.
  TensorView on_host(ValueId id);
  // As kernels keep it; a constant, which kernels keep themselves, with null data.
  TensorView on_device(ValueId id);
  // A result to be written, in one of the two.
  MutableTensorView make(ValueId id, const ConcreteOutput& result, bool device);
  // Its bytes are another's, wherever they are.
  MutableTensorView make_view(ValueId id, const ConcreteOutput& result, ValueId of);
  void drop(ValueId id);
  // Copies what is the caller's: the value outlives the run.
  void keep(ValueId id);

  // Device memory that the stream's work uses next, and nothing behind it.
  std::byte* scratch(size_t bytes);
  // Pinned memory that stays as it is until the next wait.
  std::byte* staging(size_t bytes);
  void wait();
  // Whether a value in fp16 that came to the host in this run held what is no finite number.
  bool overflowed() const { return overflowed_; }
  size_t bytes() const { return host_pool_.bytes() + device_pool_.bytes(); }

 private:
  static constexpr BufferPool::Handle kNoBuffer = SIZE_MAX;
  struct Own {
    Shape shape;
    const void* host = nullptr;
    std::byte* device = nullptr;
    BufferPool::Handle host_buffer = kNoBuffer, device_buffer = kNoBuffer;  // kNoBuffer: not there, or not ours
    bool is_on_host = false, is_on_device = false;
  };
  Own& own(ValueId id) { return values_[static_cast<size_t>(id)]; }
  const Own& own(ValueId id) const { return values_[static_cast<size_t>(id)]; }
  DType declared(ValueId id) const { return engine_.network.value(id).dtype; }
  DType stored(ValueId id) const { return engine_.stored[static_cast<size_t>(id)]; }
  void fetch(ValueId id);

  const Engine::Impl& engine_;
  Stream* stream_;
  std::vector<Own> values_;
  BufferPool host_pool_, device_pool_;
  bool overflowed_ = false;
  std::vector<BufferPool::Handle> in_flight_;  // pinned, read or written by work on the stream
};

}  // namespace bertie
