#include "bench_cases.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <random>

#include "base/error.h"
#include "line_reader.h"

namespace bertie::cli {
namespace {

constexpr int32_t kFirstOrdinaryId = 1000;  // beyond the special tokens and the padding of every family

bool all_digits(const std::string& line) {
  return !line.empty() && line.size() < 10 && line.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace

BenchBatch::BenchBatch(const ModelInfo& info, const std::vector<int64_t>& lengths, bool select_rows) {
  const auto last = static_cast<int32_t>(info.vocabulary - 1);
  std::mt19937 random(1);
  std::uniform_int_distribution<int32_t> id(std::min(kFirstOrdinaryId, last), last);
  starts_.push_back(0);
  for (int64_t length : lengths) {
    if (length > info.max_positions) {
      fail(ErrorCode::invalid_argument, "a sequence of {} tokens: the model takes {}", length, info.max_positions);
    }
    if (select_rows && length > 0) rows_.push_back(starts_.back());
    for (int64_t i = 0; i < length; ++i) ids_.push_back(id(random));
    starts_.push_back(static_cast<int32_t>(ids_.size()));
    longest_ = std::max(longest_, length);
  }
}

Batch BenchBatch::batch() const {
  Batch batch;
  batch.token_ids = ids_;
  batch.cumulative_lengths = starts_;
  batch.head_rows = rows_;
  return batch;
}

std::vector<int64_t> read_lengths(const std::string& path, const Model& model, int64_t lines) {
  LineReader reader(path);
  std::vector<std::string> texts;
  std::string line;
  while ((lines == 0 || static_cast<int64_t>(texts.size()) < lines) && reader.next(line, true) == Pull::item)
    texts.push_back(line);
  if (texts.empty()) fail(ErrorCode::invalid_file, "{}: no lines", path);
  std::vector<int64_t> lengths;
  if (std::all_of(texts.begin(), texts.end(), all_digits)) {
    for (const std::string& text : texts) {
      int64_t length = 0;
      std::from_chars(text.data(), text.data() + text.size(), length);
      lengths.push_back(length);
    }
    return lengths;
  }
  const auto tokenizer = model.tokenizer();
  for (const std::string& text : texts) {
    lengths.push_back(std::min(static_cast<int64_t>(tokenizer->encode(text).size()), model.info().max_positions));
  }
  return lengths;
}

std::vector<int64_t> mixed_lengths(std::string_view kind, int64_t count, int64_t longest) {
  constexpr double kSquadLongest = 384, kLogMean = 5.12, kLogDeviation = 0.35;
  std::mt19937 random(1);
  std::uniform_int_distribution<int64_t> uniform(1, longest);
  std::lognormal_distribution<double> squad(kLogMean, kLogDeviation);
  std::vector<int64_t> lengths(static_cast<size_t>(count));
  for (int64_t& length : lengths) {
    if (kind == "uniform") {
      length = uniform(random);
    } else {
      const double scaled = squad(random) * static_cast<double>(longest) / kSquadLongest;
      length = std::clamp<int64_t>(static_cast<int64_t>(scaled), 1, longest);
    }
  }
  return lengths;
}

std::vector<std::vector<int64_t>> sorted_batches(std::vector<int64_t> lengths, int64_t size) {
  std::sort(lengths.begin(), lengths.end(), std::greater<>());
  std::vector<std::vector<int64_t>> batches;
  for (auto at = lengths.begin(); at != lengths.end();) {
    const auto stop = at + std::min<int64_t>(size, lengths.end() - at);
    batches.emplace_back(at, stop);
    at = stop;
  }
  return batches;
}

}  // namespace bertie::cli
