// Packs sequences into batches by a token budget and runs them on sessions that grow with what they meet: one, one on each of the engine's
// devices, or in throughput mode one for each of its threads.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "bertie/engine.h"
#include "bertie/tasks.h"

namespace bertie::tasks {

// One sequence to run. `rows` are the head rows wanted of it, ascending, for engines built with `select_rows`.
struct Sequence {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;  // empty: all 0
  std::vector<int32_t> rows;
};

// The outputs of one sequence of the batch that just ran; valid only inside the call it is handed to.
class SequenceOutputs {
 public:
  // [n, width] of an output: n is the sequence's tokens, its rows, or 1.
  std::span<const float> values(std::string_view output) const;

 private:
  friend class BatchRunner;
  struct Output {
    std::string_view name;
    const float* data = nullptr;
    int64_t width = 0;
    bool padded = false;  // [batch, sequence, width]
    int64_t columns = 0;  // then of the last run
    enum { per_token, per_row, per_sequence } kind = per_token;
  };
  std::span<const Output> outputs_;
  int64_t index_ = 0, first_token_ = 0, tokens_ = 0, first_row_ = 0, rows_ = 0;
};

class BatchRunner {
 public:
  // token_budget 0 takes the default. No sequence is longer than max_length.
  BatchRunner(std::shared_ptr<const Engine> engine, int64_t token_budget, int64_t max_length);

  using Read = std::function<void(size_t index, const SequenceOutputs& outputs)>;
  using Failed = std::function<void(size_t index, const Error& error)>;
  // Runs all, longest first, and calls `read` or `failed` once for each, one call at a time, but with several sessions not always on
  // the calling thread. A batch that the engine refuses is run again one sequence at a time, so that only those at fault fail.
  // `cancelled` is asked on the calling thread alone. False: cancelled before the last batch. Throws what the calls throw.
  bool run(std::span<const Sequence* const> sequences, const Read& read, const Failed& failed, const Cancelled& cancelled);

  const Engine& engine() const { return *engine_; }
  int64_t token_budget() const { return token_budget_; }
  size_t workspace_bytes() const;
  TaskTimes& times() { return times_; }
  const TaskTimes& times() const { return times_; }
  // Threads for what goes on between runs, as many as the engine has or more. Made when first asked for.
  ThreadPool& pool();

 private:
  // A session with the batch that it runs.
  struct Lane {
    std::optional<Session> session;
    std::span<const size_t> members;  // of the batch
    std::vector<int32_t> ids, type_ids, starts, rows;
    std::vector<SequenceOutputs::Output> outputs;
  };
  // What the lanes of one run share.
  struct Run {
    std::span<const Sequence* const> sequences;
    const Read& read;
    const Failed& failed;
    const Cancelled& cancelled;
    int64_t token_budget;
    std::vector<size_t> order;
    std::mutex mutex;  // of what follows, of `read` and `failed`, and of the times
    size_t next = 0;   // in `order`
    bool stopped = false, was_cancelled = false;
    std::exception_ptr broken;
    double read_ms = 0;
  };

  void reserve(Lane& lane, const SessionLimits& needed) const;
  // Batches, one after the other, until none is left.
  void run_lane(Lane& lane, Run& run, bool on_calling_thread);
  // The next batch's members; empty: none is left.
  std::span<const size_t> take(Run& run, bool on_calling_thread) const;
  void run_batch(Lane& lane, std::span<const size_t> members, Run& run);
  void read_outputs(Lane& lane, Run& run);

  std::shared_ptr<const Engine> engine_;
  int64_t token_budget_;
  int64_t max_length_;
  int64_t row_budget_;
  bool chosen_budget_;  // by nobody but this
  std::vector<Lane> lanes_;
  std::vector<SequenceOutputs::Output> outputs_;
  std::unique_ptr<ThreadPool> pool_;
  TaskTimes times_;
};

}  // namespace bertie::tasks
