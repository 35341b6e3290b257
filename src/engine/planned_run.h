// Runs a packed network in memory that was planned once, from limits: no run allocates.
#pragma once

#include <vector>

#include "engine/buffer_pool.h"
#include "engine/engine_run.h"

namespace bertie {

class PlannedRun final : public EngineRun {
 public:
  PlannedRun(const Engine::Impl& engine, const SessionLimits& limits);
  void run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) override;
  TensorView output(ValueId value) const override;
  size_t bytes() const override { return arena_bytes_; }

 private:
  struct Step {
    std::vector<TensorView> inputs;
    std::vector<MutableTensorView> outputs;
  };
  // What a run sets in the views, found once.
  struct RunExtent {
    int64_t* extent;
    int64_t PackedBatch::*source;
  };
  struct RunInput {
    const void** data;
    size_t input;  // place among the network's
  };

  void plan_arena(const SessionLimits& limits);
  void make_views();
  Shape shape_of(ValueId id) const;

  const Engine::Impl& engine_;
  PackedBatch batch_;   // of the last run; before the first, the limits
  AlignedBytes arena_;  // activations, then kernels' workspace
  size_t arena_bytes_ = 0;
  std::span<std::byte> workspace_;
  std::vector<void*> addresses_;  // of each value; nullptr for network inputs
  std::vector<Step> steps_;
  std::vector<RunExtent> extents_;
  std::vector<RunInput> inputs_;
};

}  // namespace bertie
