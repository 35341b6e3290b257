// The streaming driver under every task: pull, tokenise, run in batches, answer in order.
//
// A task derives from Batcher and says how an item becomes sequences (`prepare`), what to keep of a sequence's outputs
// (`read`) and how that becomes the answer (`finish`). An item may need no sequence or many (windows of a long context).
// Memory is bounded by the window: at most kWindowItems items or kWindowBytes of text, whichever is met first.
#pragma once

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bertie/tasks.h"
#include "tasks/batch_runner.h"
#include "tasks/stopwatch.h"

namespace bertie::tasks {

// What `prepare` makes of an item; a task adds what it must remember until `finish`.
struct Work {
  std::vector<Sequence> sequences;
};

inline size_t text_bytes(const std::string& item) { return item.size(); }
inline size_t text_bytes(const ClassifyItem& item) { return item.text.size() + (item.text_pair ? item.text_pair->size() : 0); }
inline size_t text_bytes(const Question& item) { return item.question.size() + item.context.size(); }
inline size_t text_bytes(const RerankItem& item) { return item.query.size() + item.text.size(); }

template <typename Item, typename Answer, typename TaskWork>
class Batcher : public TaskDriver<Item, Answer> {
 public:
  void stream(const Source<Item>& source, const Sink<Item, Answer>& sink, const Cancelled& cancelled) final;
  const Engine& engine() const final { return runner_.engine(); }
  const TaskTimes& times() const final { return runner_.times(); }
  size_t workspace_bytes() const final { return runner_.workspace_bytes(); }

 protected:
  explicit Batcher(BatchRunner runner) : runner_(std::move(runner)) {}

  // Called from several threads at once. Throws Error for an item that cannot be answered.
  virtual TaskWork prepare(const Item& item) const = 0;
  virtual void read(TaskWork& work, size_t sequence, const SequenceOutputs& outputs) const = 0;
  virtual Answer finish(const Item& item, TaskWork&& work) const = 0;

 private:
  static constexpr size_t kFirstWindowItems = 32;  // doubled for each window, so that the first answers come soon
  static constexpr size_t kWindowItems = 2048;
  static constexpr size_t kWindowBytes = size_t{1} << 20;
  static constexpr size_t kItemsWorthThreads = 64;

  struct Slot {
    Item item;
    TaskWork work;
    std::optional<Error> error;
    size_t unread = 0;  // sequences whose outputs are still to come
  };

  bool fill(const Source<Item>& source, size_t limit);
  void tokenize();
  bool run(const Cancelled& cancelled);
  void answer(const Sink<Item, Answer>& sink);

  BatchRunner runner_;
  std::vector<Slot> window_;
};

// False where the source has ended.
template <typename Item, typename Answer, typename TaskWork>
bool Batcher<Item, Answer, TaskWork>::fill(const Source<Item>& source, size_t limit) {
  size_t bytes = 0;
  while (window_.size() < limit && bytes < kWindowBytes) {
    Slot slot;
    try {
      const Pull pull = source(slot.item, window_.empty());
      if (pull == Pull::end) return false;
      if (pull == Pull::later && !window_.empty()) break;
      if (pull == Pull::later) continue;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::io || error.code() == ErrorCode::cancelled) throw;
      slot.error = error;
    }
    bytes += text_bytes(slot.item);
    window_.push_back(std::move(slot));
  }
  return true;
}

template <typename Item, typename Answer, typename TaskWork>
void Batcher<Item, Answer, TaskWork>::tokenize() {
  const Stopwatch watch(runner_.times().tokenize_ms);
  std::vector<std::exception_ptr> broken(window_.size());
  const auto prepare_one = [&](int64_t index, int) {
    Slot& slot = window_[static_cast<size_t>(index)];
    if (slot.error) return;
    try {
      slot.work = prepare(slot.item);
      slot.unread = slot.work.sequences.size();
    } catch (const Error& error) {
      slot.error = error;
    } catch (...) {
      broken[static_cast<size_t>(index)] = std::current_exception();
    }
  };
  const auto count = static_cast<int64_t>(window_.size());
  if (window_.size() >= kItemsWorthThreads && runner_.engine().threads() > 1) {
    runner_.pool().parallel_for(count, prepare_one);
  } else {
    for (int64_t index = 0; index < count; ++index) prepare_one(index, 0);
  }
  for (const std::exception_ptr& exception : broken) {
    if (exception) std::rethrow_exception(exception);
  }
}

// False where cancelled.
template <typename Item, typename Answer, typename TaskWork>
bool Batcher<Item, Answer, TaskWork>::run(const Cancelled& cancelled) {
  std::vector<const Sequence*> sequences;
  std::vector<std::pair<size_t, size_t>> owners;  // slot, sequence within it
  for (size_t slot = 0; slot < window_.size(); ++slot) {
    const auto& own = window_[slot].work.sequences;
    for (size_t i = 0; i < own.size(); ++i) {
      sequences.push_back(&own[i]);
      owners.emplace_back(slot, i);
    }
  }
  const auto take = [&](size_t index, const SequenceOutputs& outputs) {
    const auto [slot, sequence] = owners[index];
    try {
      read(window_[slot].work, sequence, outputs);
    } catch (const Error& error) {
      window_[slot].error = error;
    }
    --window_[slot].unread;
  };
  const auto failed = [&](size_t index, const Error& error) {
    const size_t slot = owners[index].first;
    window_[slot].error = error;
    --window_[slot].unread;
  };
  return runner_.run(sequences, take, failed, cancelled);
}

// The finished ones, up to the first that is not.
template <typename Item, typename Answer, typename TaskWork>
void Batcher<Item, Answer, TaskWork>::answer(const Sink<Item, Answer>& sink) {
  for (Slot& slot : window_) {
    if (slot.unread > 0) break;
    std::optional<Result<Answer>> result;
    {
      const Stopwatch watch(runner_.times().read_ms);
      if (!slot.error) {
        try {
          result.emplace(finish(slot.item, std::move(slot.work)));
        } catch (const Error& error) {
          slot.error = error;
        }
      }
      if (slot.error) result.emplace(*slot.error);
    }
    runner_.times().items += 1;
    sink(std::move(slot.item), std::move(*result));
  }
}

template <typename Item, typename Answer, typename TaskWork>
void Batcher<Item, Answer, TaskWork>::stream(const Source<Item>& source, const Sink<Item, Answer>& sink,
                                             const Cancelled& cancelled) {
  size_t limit = kFirstWindowItems;
  for (bool more = true; more; limit = std::min(2 * limit, kWindowItems)) {
    window_.clear();
    more = fill(source, limit);
    tokenize();
    const bool finished = run(cancelled);
    answer(sink);
    if (!finished) throw Error(ErrorCode::cancelled, "cancelled");
  }
  window_.clear();
}

}  // namespace bertie::tasks
