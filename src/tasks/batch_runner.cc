#include "tasks/batch_runner.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/error.h"
#include "tasks/stopwatch.h"

namespace bertie::tasks {
namespace {

// Past a few hundred tokens a thread a larger batch costs memory and gains nothing: MiniLM embeds the 512 lines of
// tests/data/calibration.txt on 2 threads in 4.57, 4.51, 4.47 and 4.59 s of CPU time at 512, 1024, 2048 and 4096 tokens.
constexpr int64_t kTokensPerThread = 512;
constexpr int64_t kLeastTokens = 1024, kMostTokens = 16384;
constexpr int64_t kMaxSequences = 512;
// Where several lanes share the work: enough batches for them to end at about the same time, none too small to be worth its overhead.
constexpr int64_t kBatchesPerLane = 4;
constexpr int64_t kFewestTokens = 128;
constexpr int64_t kRowBytes = int64_t{64} << 20;  // of head outputs in one batch

int64_t width_of(const Network& network, const Network::Output& output) {
  const SymbolicShape& shape = network.value(output.value).shape;
  int64_t width = 1;
  for (size_t axis = 1; axis < shape.size(); ++axis) width *= std::max<int64_t>(shape[axis].size, 1);
  return width;
}

int64_t grown(int64_t current, int64_t needed, int64_t cap) {
  if (needed <= current) return current;
  const auto rounded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(needed)));
  return std::max(needed, std::min(rounded, cap));
}

// Whether each of several sessions runs on one thread.
bool runs_alone(const Engine& engine) {
  return engine.options().mode == Mode::throughput && !engine.options().device.starts_with("cuda");
}

int64_t default_budget(const Engine& engine) {
  return std::clamp(kTokensPerThread * (runs_alone(engine) ? 1 : engine.threads()), kLeastTokens, kMostTokens);
}

}  // namespace

std::span<const float> SequenceOutputs::values(std::string_view output) const {
  for (const Output& candidate : outputs_) {
    if (candidate.name != output) continue;
    int64_t first = index_, count = 1;
    if (candidate.kind == Output::per_token) {
      first = candidate.padded ? index_ * candidate.columns : first_token_;
      count = tokens_;
    }
    if (candidate.kind == Output::per_row) first = first_row_, count = rows_;
    return {candidate.data + first * candidate.width, static_cast<size_t>(count * candidate.width)};
  }
  fail(ErrorCode::not_found, "the engine has no output {}", output);
}

BatchRunner::BatchRunner(std::shared_ptr<const Engine> engine, int64_t token_budget, int64_t max_length)
    : engine_(std::move(engine)),
      token_budget_(token_budget > 0 ? token_budget : default_budget(*engine_)),
      max_length_(max_length),
      row_budget_(kMaxSequences),
      chosen_budget_(token_budget <= 0 && runs_alone(*engine_)),
      lanes_(static_cast<size_t>(runs_alone(*engine_) ? engine_->threads() : engine_->replicas())) {
  const auto& selected = engine_->options().select_rows;
  for (const Network::Output& output : engine_->network().outputs()) {
    const SymbolicShape& shape = engine_->network().value(output.value).shape;
    SequenceOutputs::Output entry{output.name, nullptr, width_of(engine_->network(), output)};
    if (std::find(selected.begin(), selected.end(), output.name) != selected.end()) {
      entry.kind = SequenceOutputs::Output::per_row;
      row_budget_ = std::min(row_budget_, std::max<int64_t>(1, kRowBytes / (entry.width * int64_t{sizeof(float)})));
    } else if (shape.size() >= 2 && shape[0] == Dim("batch") && shape[1] == Dim("sequence")) {
      entry.padded = true;
    } else if (!shape.empty() && shape[0].symbol == "batch") {
      entry.kind = SequenceOutputs::Output::per_sequence;
    }
    outputs_.push_back(entry);
  }
}

size_t BatchRunner::workspace_bytes() const {
  return std::accumulate(lanes_.begin(), lanes_.end(), size_t{0},
                         [](size_t sum, const Lane& lane) { return sum + (lane.session ? lane.session->workspace_bytes() : 0); });
}

// A larger session replaces the one there is; extents double, so that a stream makes few of them.
void BatchRunner::reserve(Lane& lane, const SessionLimits& needed) const {
  const SessionLimits none{0, 0, 0, 0};
  const SessionLimits& have = lane.session ? lane.session->limits() : none;
  if (lane.session && needed.tokens <= have.tokens && needed.sequences <= have.sequences && needed.longest <= have.longest &&
      needed.rows <= have.rows) {
    return;
  }
  SessionLimits limits;
  limits.tokens = grown(have.tokens, needed.tokens, std::max(token_budget_, max_length_));
  limits.sequences = grown(have.sequences, needed.sequences, kMaxSequences);
  limits.longest = grown(have.longest, needed.longest, max_length_);
  limits.rows = std::max<int64_t>(1, grown(have.rows, needed.rows, row_budget_));
  lane.session.reset();
  lane.session.emplace(engine_, limits);
}

// `lane.members` are what is run.
void BatchRunner::run_batch(Lane& lane, std::span<const size_t> members, Run& run) {
  lane.members = members;
  lane.ids.clear();
  lane.type_ids.clear();
  lane.rows.clear();
  lane.starts.assign(1, 0);
  SessionLimits needed{0, static_cast<int64_t>(members.size()), 0, 0};
  for (size_t member : members) {
    const Sequence& sequence = *run.sequences[member];
    for (int32_t row : sequence.rows) lane.rows.push_back(lane.starts.back() + row);
    lane.ids.insert(lane.ids.end(), sequence.ids.begin(), sequence.ids.end());
    lane.type_ids.insert(lane.type_ids.end(), sequence.type_ids.begin(), sequence.type_ids.end());
    lane.starts.push_back(static_cast<int32_t>(lane.ids.size()));
    needed.longest = std::max(needed.longest, static_cast<int64_t>(sequence.ids.size()));
  }
  needed.tokens = static_cast<int64_t>(lane.ids.size());
  needed.rows = static_cast<int64_t>(lane.rows.size());
  std::optional<Error> refused;
  try {
    reserve(lane, needed);
    Batch batch;
    batch.token_ids = lane.ids;
    batch.type_ids = lane.type_ids;
    batch.cumulative_lengths = lane.starts;
    batch.head_rows = lane.rows;
    lane.session->run(batch);
  } catch (const Error& error) {
    refused = error;
  }
  if (refused && members.size() > 1) {
    for (const size_t& member : members) run_batch(lane, {&member, 1}, run);
    return;
  }
  const std::lock_guard lock(run.mutex);
  if (run.stopped) return;
  const Stopwatch reading(run.read_ms);
  try {
    if (refused) return run.failed(members[0], *refused);
    read_outputs(lane, run);
  } catch (...) {
    run.stopped = true;  // before another lane takes the lock
    throw;
  }
}

void BatchRunner::read_outputs(Lane& lane, Run& run) {
  times_.batches += 1;
  times_.tokens += static_cast<int64_t>(lane.ids.size());
  times_.sequences += static_cast<int64_t>(lane.members.size());
  lane.outputs = outputs_;
  for (auto& output : lane.outputs) {
    const TensorView view = lane.session->output(output.name);
    output.data = view.as<float>();
    output.columns = output.padded ? view.shape[1] : 0;
  }
  SequenceOutputs view;
  view.outputs_ = lane.outputs;
  for (size_t i = 0; i < lane.members.size(); ++i) {
    view.index_ = static_cast<int64_t>(i);
    view.first_token_ = lane.starts[i];
    view.tokens_ = lane.starts[i + 1] - lane.starts[i];
    view.rows_ = static_cast<int64_t>(run.sequences[lane.members[i]]->rows.size());
    run.read(lane.members[i], view);
    view.first_row_ += view.rows_;
  }
}

std::span<const size_t> BatchRunner::take(Run& run, bool on_calling_thread) const {
  const std::lock_guard lock(run.mutex);
  if (run.stopped || run.next == run.order.size()) return {};
  if (on_calling_thread && run.cancelled && run.cancelled()) {
    run.stopped = run.was_cancelled = true;
    return {};
  }
  const size_t begin = run.next;
  int64_t tokens = 0, rows = 0;
  for (; run.next < run.order.size() && static_cast<int64_t>(run.next - begin) < kMaxSequences; ++run.next) {
    const Sequence& sequence = *run.sequences[run.order[run.next]];
    tokens += static_cast<int64_t>(sequence.ids.size());
    rows += static_cast<int64_t>(sequence.rows.size());
    if (run.next > begin && (tokens > run.token_budget || rows > row_budget_)) break;
  }
  return std::span<const size_t>(run.order).subspan(begin, run.next - begin);
}

void BatchRunner::run_lane(Lane& lane, Run& run, bool on_calling_thread) {
  try {
    while (true) {
      const std::span<const size_t> members = take(run, on_calling_thread);
      if (members.empty()) return;
      run_batch(lane, members, run);
    }
  } catch (...) {
    const std::lock_guard lock(run.mutex);
    if (!run.broken) run.broken = std::current_exception();
    run.stopped = true;
  }
}

ThreadPool& BatchRunner::pool() {
  if (!pool_) pool_ = std::make_unique<ThreadPool>(std::max(engine_->threads(), static_cast<int>(lanes_.size())));
  return *pool_;
}

bool BatchRunner::run(std::span<const Sequence* const> sequences, const Read& read, const Failed& failed,
                      const Cancelled& cancelled) {
  Run run{.sequences = sequences, .read = read, .failed = failed, .cancelled = cancelled, .token_budget = token_budget_};
  run.order.resize(sequences.size());
  std::iota(run.order.begin(), run.order.end(), size_t{0});
  std::stable_sort(run.order.begin(), run.order.end(),
                   [&](size_t a, size_t b) { return sequences[a]->ids.size() > sequences[b]->ids.size(); });
  if (chosen_budget_ && lanes_.size() > 1) {
    int64_t tokens = 0;
    for (const Sequence* sequence : sequences) tokens += static_cast<int64_t>(sequence->ids.size());
    const int64_t batches = kBatchesPerLane * static_cast<int64_t>(lanes_.size());
    run.token_budget = std::clamp((tokens + batches - 1) / batches, kFewestTokens, token_budget_);
  }
  double all_ms = 0;
  {
    const Stopwatch running(all_ms);
    if (lanes_.size() == 1) {
      run_lane(lanes_[0], run, true);
    } else {
      pool().parallel_for(static_cast<int64_t>(lanes_.size()),
                          [&](int64_t lane, int worker) { run_lane(lanes_[static_cast<size_t>(lane)], run, worker == 0); });
    }
  }
  const double read_ms = run.read_ms / static_cast<double>(lanes_.size());
  times_.read_ms += read_ms;
  times_.run_ms += all_ms - read_ms;
  if (run.broken) std::rethrow_exception(run.broken);
  return !run.was_cancelled;
}

}  // namespace bertie::tasks
