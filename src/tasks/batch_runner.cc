#include "tasks/batch_runner.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "tasks/stopwatch.h"

namespace bertie::tasks {
namespace {

// Past a few hundred tokens a thread a larger batch costs memory and gains nothing: MiniLM embeds the 512 lines of
// tests/data/calibration.txt on 2 threads in 4.57, 4.51, 4.47 and 4.59 s of CPU time at 512, 1024, 2048 and 4096 tokens.
constexpr int64_t kTokensPerThread = 512;
constexpr int64_t kLeastTokens = 1024, kMostTokens = 16384;
constexpr int64_t kMaxSequences = 512;
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
      token_budget_(token_budget > 0 ? token_budget
                                     : std::clamp(kTokensPerThread * engine_->threads(), kLeastTokens, kMostTokens)),
      max_length_(max_length),
      row_budget_(kMaxSequences),
      lanes_(static_cast<size_t>(engine_->replicas())) {
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

void BatchRunner::run_lane(Lane& lane, std::span<const Sequence* const> sequences) const {
  lane.ids.clear();
  lane.type_ids.clear();
  lane.rows.clear();
  lane.starts.assign(1, 0);
  lane.error.reset();
  lane.broken = nullptr;
  SessionLimits needed{0, static_cast<int64_t>(lane.members.size()), 0, 0};
  for (size_t member : lane.members) {
    const Sequence& sequence = *sequences[member];
    for (int32_t row : sequence.rows) lane.rows.push_back(lane.starts.back() + row);
    lane.ids.insert(lane.ids.end(), sequence.ids.begin(), sequence.ids.end());
    lane.type_ids.insert(lane.type_ids.end(), sequence.type_ids.begin(), sequence.type_ids.end());
    lane.starts.push_back(static_cast<int32_t>(lane.ids.size()));
    needed.longest = std::max(needed.longest, static_cast<int64_t>(sequence.ids.size()));
  }
  needed.tokens = static_cast<int64_t>(lane.ids.size());
  needed.rows = static_cast<int64_t>(lane.rows.size());
  try {
    reserve(lane, needed);
    Batch batch;
    batch.token_ids = lane.ids;
    batch.type_ids = lane.type_ids;
    batch.cumulative_lengths = lane.starts;
    batch.head_rows = lane.rows;
    lane.session->run(batch);
  } catch (const Error& error) {
    lane.error = error;
  } catch (...) {
    lane.broken = std::current_exception();
  }
}

void BatchRunner::read_lane(Lane& lane, std::span<const Sequence* const> sequences, const Read& read, const Failed& failed) {
  if (lane.broken) std::rethrow_exception(lane.broken);
  if (lane.error && lane.members.size() == 1) return failed(lane.members[0], *lane.error);
  if (lane.error) {
    const std::span<const size_t> members = lane.members;
    for (const size_t& member : members) {
      lane.members = {&member, 1};
      {
        const Stopwatch running(times_.run_ms);
        run_lane(lane, sequences);
      }
      read_lane(lane, sequences, read, failed);
    }
    return;
  }
  times_.batches += 1;
  times_.tokens += static_cast<int64_t>(lane.ids.size());
  times_.sequences += static_cast<int64_t>(lane.members.size());

  const Stopwatch reading(times_.read_ms);
  for (auto& output : outputs_) {
    const TensorView view = lane.session->output(output.name);
    output.data = view.as<float>();
    output.columns = output.padded ? view.shape[1] : 0;
  }
  SequenceOutputs view;
  view.outputs_ = outputs_;
  for (size_t i = 0; i < lane.members.size(); ++i) {
    view.index_ = static_cast<int64_t>(i);
    view.first_token_ = lane.starts[i];
    view.tokens_ = lane.starts[i + 1] - lane.starts[i];
    view.rows_ = static_cast<int64_t>(sequences[lane.members[i]]->rows.size());
    read(lane.members[i], view);
    view.first_row_ += view.rows_;
  }
}

bool BatchRunner::run(std::span<const Sequence* const> sequences, const Read& read, const Failed& failed,
                      const Cancelled& cancelled) {
  std::vector<size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sequences[a]->ids.size() > sequences[b]->ids.size(); });
  // The next batch behind `begin`.
  const auto take = [&](size_t begin) {
    int64_t tokens = 0, rows = 0;
    size_t end = begin;
    for (; end < order.size() && static_cast<int64_t>(end - begin) < kMaxSequences; ++end) {
      const Sequence& sequence = *sequences[order[end]];
      tokens += static_cast<int64_t>(sequence.ids.size());
      rows += static_cast<int64_t>(sequence.rows.size());
      if (end > begin && (tokens > token_budget_ || rows > row_budget_)) break;
    }
    return std::span<const size_t>(order).subspan(begin, end - begin);
  };
  for (size_t begin = 0; begin < order.size();) {
    if (cancelled && cancelled()) return false;
    size_t used = 0;
    {
      const Stopwatch running(times_.run_ms);
      std::vector<std::jthread> others;  // each lane but the first has a thread of its own
      for (; used < lanes_.size() && begin < order.size(); ++used) {
        Lane& lane = lanes_[used];
        lane.members = take(begin);
        begin += lane.members.size();
        if (used > 0) others.emplace_back([this, &lane, sequences] { run_lane(lane, sequences); });
      }
      run_lane(lanes_[0], sequences);
    }
    for (size_t i = 0; i < used; ++i) read_lane(lanes_[i], sequences, read, failed);
  }
  return true;
}

}  // namespace bertie::tasks
