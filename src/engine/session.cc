#include <algorithm>

#include "base/cpu_affinity.h"
#include "base/error.h"
#include "engine/batch_check.h"
#include "engine/batch_inputs.h"
#include "engine/engine_run.h"

namespace bertie {

struct Session::Impl {
  Impl(std::shared_ptr<const Engine> owner, const SessionLimits& wanted)
      : engine(std::move(owner)),
        place(Engine::Impl::of_new_session(*engine)),
        plan(*place.plan),
        limits(wanted),
        inputs(plan, wanted),
        run(make_run(plan, wanted)),
        times(plan.steps.size()) {}

  std::shared_ptr<const Engine> engine;
  Engine::Impl::Place place;
  const Engine::Impl& plan;
  SessionLimits limits;
  BatchInputs inputs;
  std::unique_ptr<EngineRun> run;
  bool profiling = false;
  std::vector<StepTime> times;
};

Session::Session(std::shared_ptr<const Engine> engine, const SessionLimits& limits) {
  if (limits.tokens < 0 || limits.sequences < 0 || limits.longest < 0 || limits.rows < 0) {
    fail(ErrorCode::invalid_argument, "session limits: {} tokens, {} sequences, longest {}, {} rows: none may be negative",
         limits.tokens, limits.sequences, limits.longest, limits.rows);
  }
  SessionLimits whole = limits;
  if (whole.rows == 0) whole.rows = limits.tokens;
  impl_ = std::make_unique<Impl>(std::move(engine), whole);
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

void Session::run(const Batch& batch) {
  check_batch(batch, impl_->limits, impl_->plan);
  const PackedBatch packed = packed_batch(batch);
  const PinnedScope pinned(impl_->place.cpu);
  impl_->run->run(packed, impl_->inputs.bind(batch, packed), impl_->profiling ? std::span(impl_->times) : std::span<StepTime>());
}

std::vector<double> Session::device_times(const Batch& batch, int runs) {
  if (runs < 0) fail(ErrorCode::invalid_argument, "{} runs to time: 0 or more", runs);
  check_batch(batch, impl_->limits, impl_->plan);
  const PackedBatch packed = packed_batch(batch);
  return impl_->run->device_times(packed, impl_->inputs.bind(batch, packed), runs);
}

TensorView Session::output(std::string_view name) const {
  const Network& network = impl_->plan.network;
  for (const Network::Output& output : network.outputs()) {
    if (output.name == name) return impl_->run->output(output.value);
  }
  std::vector<std::string_view> names;
  for (const Network::Output& output : network.outputs()) names.push_back(output.name);
  fail(ErrorCode::not_found, "no output '{}': this engine has {}", name, fmt::join(names, ", "));
}

const SessionLimits& Session::limits() const { return impl_->limits; }
const Engine& Session::engine() const { return *impl_->engine; }
size_t Session::workspace_bytes() const { return impl_->run->bytes(); }
void Session::set_profiling(bool on) { impl_->profiling = on; }
std::span<const StepTime> Session::step_times() const { return impl_->times; }

}  // namespace bertie
