// Runs a network whose extents only the run knows, one step after another: each step's shape rule on the concrete inputs, its
// results in pooled buffers that are free again when their last reader has run. On a device, steps that it has no kernel for run on the
// CPU between the others, and values cross where they are read.
#pragma once

#include <memory>
#include <vector>

#include "engine/device_batch.h"
#include "engine/engine_run.h"
#include "engine/step_values.h"
#include "network/concrete_rule.h"

namespace bertie {

class StepRun final : public EngineRun {
 public:
  explicit StepRun(const Engine::Impl& engine);
  ~StepRun() override;
  // Throws Error(invalid_argument) naming the step whose inputs do not fit it, and Error(unsupported) naming the step that overflowed
  // in 16 bits; outputs are then those of no run.
  void run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) override;
  TensorView output(ValueId value) const override { return values_.seen(value); }
  size_t bytes() const override { return values_.bytes() + workspace_bytes_ + on_device_.bytes(); }

 private:
  // Two extents of a step that its kernel takes to be equal.
  struct SameExtent {
    ValueId a, b;
    int axis_a, axis_b;
  };
  struct Step {
    ConcreteRule rule;
    bool is_view;       // its result has the bytes of its first input
    bool extents_only;  // of its inputs
    std::vector<SameExtent> same;
    std::vector<ValueId> last_read;  // values that no later step reads
    std::vector<TensorView> inputs;
    std::vector<MutableTensorView> outputs;
  };

  void prepare_step(size_t index);
  void find_last_readers();
  void run_steps(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times, bool check_results);
  void run_one(size_t index, const PackedBatch& batch, StepTime* time, bool check_results);
  void run_on_host(size_t index, const PackedBatch& batch, StepTime* time);
  void run_on_device(size_t index, const PackedBatch& batch, StepTime* time, bool check_results);
  void take_outputs(size_t index, std::span<const ConcreteOutput> results);
  void check_step(size_t index);
  BatchLimits limits_of(size_t index, const PackedBatch& batch) const;
  std::span<std::byte> workspace(size_t index, const PackedBatch& batch);
  void stage(const PackedBatch& batch);
  int32_t first_overflow();

  const Engine::Impl& engine_;
  std::unique_ptr<Stream> stream_;  // of the device; nullptr: there is none
  std::vector<Step> steps_;
  StepValues values_;
  Symbols symbols_;
  AlignedBytes workspace_;
  size_t workspace_bytes_ = 0;
  // On a device: the batch as its kernels read it.
  TileLists lists_;
  DeviceBuffer on_device_;
  PackedBatch device_batch_;
  std::vector<std::span<const QueryTile>> tiles_;  // on the device, by list
  std::unique_ptr<Timeline> timeline_;
};

}  // namespace bertie
