// Runs a network whose extents only the run knows, one step after another: each step's shape rule on the concrete inputs, its
// results in pooled buffers that are free again when their last reader has run.
#pragma once

#include <vector>

#include "engine/buffer_pool.h"
#include "engine/engine_run.h"
#include "network/concrete_rule.h"

namespace bertie {

class StepRun final : public EngineRun {
 public:
  explicit StepRun(const Engine::Impl& engine);
  // Throws Error(invalid_argument) naming the step whose inputs do not fit it; outputs are then those of no run.
  void run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) override;
  TensorView output(ValueId value) const override { return values_[static_cast<size_t>(value)]; }
  size_t bytes() const override { return pool_.bytes() + workspace_bytes_; }

 private:
  static constexpr BufferPool::Handle kNoBuffer = SIZE_MAX;
  // Two extents of a step that its kernel takes to be equal.
  struct SameExtent {
    ValueId a, b;
    int axis_a, axis_b;
  };
  struct Step {
    ConcreteRule rule;
    bool is_view;  // its result has the bytes of its first input
    std::vector<SameExtent> same;
    std::vector<ValueId> last_read;  // values that no later step reads
    std::vector<TensorView> inputs;
    std::vector<MutableTensorView> outputs;
  };

  void prepare_step(size_t index);
  void find_last_readers();
  void run_one(size_t index, const PackedBatch& batch, StepTime* time);
  void take_outputs(size_t index, std::span<const ConcreteOutput> results);
  void check_step(size_t index) const;
  std::span<std::byte> workspace(size_t index, const PackedBatch& batch);
  // The value's bytes are in `buffer` (kNoBuffer: they are another's) from now on.
  void set_buffer(ValueId id, BufferPool::Handle buffer);

  const Engine::Impl& engine_;
  std::vector<Step> steps_;
  std::vector<TensorView> values_;
  std::vector<BufferPool::Handle> buffers_;  // of each value
  Symbols symbols_;
  BufferPool pool_;
  AlignedBytes workspace_;
  size_t workspace_bytes_ = 0;
};

}  // namespace bertie
