#include "engine/batch_check.h"

#include <algorithm>

#include "base/error.h"

namespace bertie {
namespace {

void check_limit(const char* what, int64_t count, int64_t limit) {
  if (count > limit) fail(ErrorCode::limit_exceeded, "a batch of {} {}: this session's limit is {}", count, what, limit);
}

// An empty span stands for defaults.
void check_size(const char* what, std::span<const int32_t> values, size_t tokens) {
  if (!values.empty() && values.size() != tokens) {
    fail(ErrorCode::invalid_argument, "batch: {} {} for {} tokens", values.size(), what, tokens);
  }
}

// Every id in [0, count); `count` 0 means that nothing looks them up.
void check_ids(const char* what, std::span<const int32_t> ids, int64_t count) {
  if (count == 0) return;
  // Unsigned, so that one comparison finds negative ids too; a plain loop that the compiler vectorises.
  const uint32_t bound = static_cast<uint32_t>(std::min<int64_t>(count, INT32_MAX));
  bool bad = false;
  for (int32_t id : ids) bad |= static_cast<uint32_t>(id) >= bound;
  if (!bad) return;
  const auto found = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return static_cast<uint32_t>(id) >= bound; });
  fail(ErrorCode::invalid_argument, "batch: {} {} at token {}: out of range [0, {})", what, *found, found - ids.begin(), count);
}

// Every pair of columns of one sequence has an entry in the relative bias.
void check_bias(const Batch& batch, int64_t columns) {
  for (size_t b = 0; b + 1 < batch.cumulative_lengths.size(); ++b) {
    const auto begin = static_cast<size_t>(batch.cumulative_lengths[b]);
    const auto length = static_cast<size_t>(batch.cumulative_lengths[b + 1]) - begin;
    if (length == 0) continue;
    int64_t span = static_cast<int64_t>(length);
    if (!batch.columns.empty()) {
      const auto own = batch.columns.subspan(begin, length);
      const auto [low, high] = std::minmax_element(own.begin(), own.end());
      span = int64_t{*high} - *low + 1;
    }
    if (span > columns) {
      fail(ErrorCode::invalid_argument, "batch: sequence {} spans {} columns: the model's relative bias has {}", b, span,
           columns);
    }
  }
}

}  // namespace

int64_t longest_sequence(const Batch& batch) {
  int64_t longest = 0;
  for (size_t b = 0; b + 1 < batch.cumulative_lengths.size(); ++b) {
    longest = std::max<int64_t>(longest, batch.cumulative_lengths[b + 1] - batch.cumulative_lengths[b]);
  }
  return longest;
}

void check_batch(const Batch& batch, const SessionLimits& limits, const Engine::Impl& engine) {
  const size_t tokens = batch.token_ids.size();
  const auto& ends = batch.cumulative_lengths;
  if (ends.empty() || ends.front() != 0 || ends.back() != static_cast<int64_t>(tokens) ||
      !std::is_sorted(ends.begin(), ends.end())) {
    fail(ErrorCode::invalid_argument, "batch: cumulative_lengths must rise from 0 to the {} tokens", tokens);
  }
  const int64_t longest = longest_sequence(batch);
  check_limit("tokens", static_cast<int64_t>(tokens), limits.tokens);
  check_limit("sequences", static_cast<int64_t>(ends.size()) - 1, limits.sequences);
  check_limit("tokens in one sequence", longest, limits.longest);
  check_limit("head rows", static_cast<int64_t>(batch.head_rows.size()), limits.rows);
  check_size("type ids", batch.type_ids, tokens);
  check_size("position ids", batch.position_ids, tokens);
  check_size("columns", batch.columns, tokens);
  check_ids("token id", batch.token_ids, engine.vocabulary);
  check_ids("type id", batch.type_ids, engine.types);
  check_ids("position id", batch.position_ids, engine.positions);
  for (int32_t row : batch.head_rows) {
    if (row < 0 || static_cast<size_t>(row) >= tokens)
      fail(ErrorCode::invalid_argument, "batch: head row {}: out of range [0, {})", row, tokens);
  }
  for (int32_t column : batch.columns) {
    if (column < 0) fail(ErrorCode::invalid_argument, "batch: column {}: negative", column);
  }
  if (!batch.queries_only.empty() && batch.queries_only.size() + 1 != ends.size()) {
    fail(ErrorCode::invalid_argument, "batch: {} counts of queries only for {} sequences", batch.queries_only.size(),
         ends.size() - 1);
  }
  for (size_t b = 0; b < batch.queries_only.size(); ++b) {
    const int32_t count = batch.queries_only[b];
    if (count < 0 || count > ends[b + 1] - ends[b]) {
      fail(ErrorCode::invalid_argument, "batch: {} tokens of sequence {} are queries only: it has {}", count, b,
           ends[b + 1] - ends[b]);
    }
  }
  const int64_t usable = engine.positions - engine.position_rule.first;
  if (engine.positions > 0 && batch.position_ids.empty() && longest > usable) {
    fail(ErrorCode::invalid_argument, "batch: a sequence of {} tokens: the model has positions for {}", longest, usable);
  }
  if (engine.bias_columns > 0) check_bias(batch, engine.bias_columns);
  const auto empty = std::adjacent_find(ends.begin(), ends.end());
  if (engine.reads_first_rows && empty != ends.end()) {
    fail(ErrorCode::invalid_argument, "batch: sequence {} is empty, and its first token is wanted", empty - ends.begin());
  }
}

void fill_positions(const Batch& batch, const PositionRule& rule, std::span<int32_t> positions) {
  for (size_t b = 0; b + 1 < batch.cumulative_lengths.size(); ++b) {
    int32_t next = rule.first;
    for (int32_t t = batch.cumulative_lengths[b]; t < batch.cumulative_lengths[b + 1]; ++t) {
      const bool padding = rule.padding_id >= 0 && batch.token_ids[static_cast<size_t>(t)] == rule.padding_id;
      positions[static_cast<size_t>(t)] = padding ? rule.padding_id : next++;
    }
  }
}

}  // namespace bertie
