#include "engine/engine_run.h"

#include <chrono>

#include "engine/device_run.h"
#include "engine/planned_run.h"
#include "engine/step_cost.h"
#include "engine/step_run.h"

namespace bertie {

std::unique_ptr<EngineRun> make_run(const Engine::Impl& engine, const SessionLimits& limits) {
  if (!engine.execution.planned) return std::make_unique<StepRun>(engine);
  if (engine.device) return std::make_unique<DeviceRun>(engine, limits);
  return std::make_unique<PlannedRun>(engine, limits);
}

void run_step(const Engine::Impl& engine, size_t step, const KernelContext& context, StepTime* time) {
  const EngineStep& own = engine.steps[step];
  if (!time) return own.kernel->run(context);
  const auto start = std::chrono::steady_clock::now();
  own.kernel->run(context);
  const auto end = std::chrono::steady_clock::now();
  *time = step_cost(engine.network.node(own.node), context);
  time->milliseconds = std::chrono::duration<double, std::milli>(end - start).count();
  time->output = context.outputs[0].shape;
}

}  // namespace bertie
