// The steps of an engine, run: planned (planned_run.h) or step by step (step_run.h).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/kernel.h"
#include "engine/engine_impl.h"

namespace bertie {

class EngineRun {
 public:
  virtual ~EngineRun() = default;
  // `inputs`: one a network input, in their order and of its dtype; without data where no step reads it. `times`: one a step, or
  // empty where none is wanted.
  virtual void run(const PackedBatch& batch, std::span<const TensorView> inputs, std::span<StepTime> times) = 0;
  // Milliseconds that each of `runs` repeats of the batch's steps took by the device's own events; empty where there is no device.
  // Results are those of no run.
  virtual std::vector<double> device_times(const PackedBatch&, std::span<const TensorView>, int /*runs*/) { return {}; }
  // A network output of the last run.
  virtual TensorView output(ValueId value) const = 0;
  virtual size_t bytes() const = 0;  // memory held between runs
};

// The way that suits the engine. A planned one takes batches within `limits`.
std::unique_ptr<EngineRun> make_run(const Engine::Impl& engine, const SessionLimits& limits);

// Runs one step, timed where `time` is wanted.
void run_step(const Engine::Impl& engine, size_t step, const KernelContext& context, StepTime* time);

}  // namespace bertie
