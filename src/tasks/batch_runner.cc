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
      row_budget_(kMaxSequences) {
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

// A larger session replaces the one there is; extents double, so that a stream makes few of them.
void BatchRunner::reserve(const SessionLimits& needed) {
  const SessionLimits none{0, 0, 0, 0};
  const SessionLimits& have = session_ ? session_->limits() : none;
  if (session_ && needed.tokens <= have.tokens && needed.sequences <= have.sequences && needed.longest <= have.longest &&
      needed.rows <= have.rows) {
    return;
  }
  SessionLimits limits;
  limits.tokens = grown(have.tokens, needed.tokens, std::max(token_budget_, max_length_));
  limits.sequences = grown(have.sequences, needed.sequences, kMaxSequences);
  limits.longest = grown(have.longest, needed.longest, max_length_);
  limits.rows = std::max<int64_t>(1, grown(have.rows, needed.rows, row_budget_));
  session_.reset();
  session_.emplace(engine_, limits);
}

void BatchRunner::run_batch(std::span<const Sequence* const> sequences, std::span<const size_t> members, const Read& read,
                            const Failed& failed) {
  ids_.clear();
  type_ids_.clear();
  rows_.clear();
  starts_.assign(1, 0);
  SessionLimits needed{0, static_cast<int64_t>(members.size()), 0, 0};
  for (size_t member : members) {
    const Sequence& sequence = *sequences[member];
    for (int32_t row : sequence.rows) rows_.push_back(starts_.back() + row);
    ids_.insert(ids_.end(), sequence.ids.begin(), sequence.ids.end());
    type_ids_.insert(type_ids_.end(), sequence.type_ids.begin(), sequence.type_ids.end());
    starts_.push_back(static_cast<int32_t>(ids_.size()));
    needed.longest = std::max(needed.longest, static_cast<int64_t>(sequence.ids.size()));
  }
  needed.tokens = static_cast<int64_t>(ids_.size());
  needed.rows = static_cast<int64_t>(rows_.size());

  try {
    const Stopwatch running(times_.run_ms);
    reserve(needed);
    Batch batch;
    batch.token_ids = ids_;
    batch.type_ids = type_ids_;
    batch.cumulative_lengths = starts_;
    batch.head_rows = rows_;
    session_->run(batch);
  } catch (const Error& error) {
    if (members.size() == 1) {
      failed(members[0], error);
    } else {
      const std::vector<size_t> each(members.begin(), members.end());
      for (const size_t& member : each) run_batch(sequences, {&member, 1}, read, failed);
    }
    return;
  }
  times_.batches += 1;
  times_.tokens += needed.tokens;
  times_.sequences += needed.sequences;

  const Stopwatch reading(times_.read_ms);
  for (auto& output : outputs_) {
    const TensorView view = session_->output(output.name);
    output.data = view.as<float>();
    output.columns = output.padded ? view.shape[1] : 0;
  }
  SequenceOutputs view;
  view.outputs_ = outputs_;
  for (size_t i = 0; i < members.size(); ++i) {
    view.index_ = static_cast<int64_t>(i);
    view.first_token_ = starts_[i];
    view.tokens_ = starts_[i + 1] - starts_[i];
    view.rows_ = static_cast<int64_t>(sequences[members[i]]->rows.size());
    read(members[i], view);
    view.first_row_ += view.rows_;
  }
}

bool BatchRunner::run(std::span<const Sequence* const> sequences, const Read& read, const Failed& failed,
                      const Cancelled& cancelled) {
  std::vector<size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return sequences[a]->ids.size() > sequences[b]->ids.size(); });
  for (size_t begin = 0; begin < order.size();) {
    if (cancelled && cancelled()) return false;
    int64_t tokens = 0, rows = 0;
    size_t end = begin;
    for (; end < order.size() && static_cast<int64_t>(end - begin) < kMaxSequences; ++end) {
      const Sequence& sequence = *sequences[order[end]];
      tokens += static_cast<int64_t>(sequence.ids.size());
      rows += static_cast<int64_t>(sequence.rows.size());
      if (end > begin && (tokens > token_budget_ || rows > row_budget_)) break;
    }
    run_batch(sequences, std::span(order).subspan(begin, end - begin), read, failed);
    begin = end;
  }
  return true;
}

}  // namespace bertie::tasks
