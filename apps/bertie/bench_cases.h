// What `bertie bench` runs: batches of random ids of given lengths.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/engine.h"
#include "bertie/model.h"

namespace bertie::cli {

class BenchBatch {
 public:
  // select_rows: one head row a sequence, its first token's.
  BenchBatch(const ModelInfo& info, const std::vector<int64_t>& lengths, bool select_rows);
  Batch batch() const;
  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  int64_t longest() const { return longest_; }

 private:
  std::vector<int32_t> ids_, starts_, rows_;
  int64_t longest_ = 0;
};

// Lengths in tokens from a file of one length, or else one text, a line; texts are cut to the model's positions. At most `lines`
// of them where that is above 0. Throws Error(not_found, io, invalid_file, invalid_text).
std::vector<int64_t> read_lengths(const std::string& path, const Model& model, int64_t lines);

// `count` lengths that vary as those of a kind of text do: "uniform", 1 to `longest`, or "squad", questions with their paragraphs, 178 in the
// mean where `longest` is 384. The same ones in every run.
std::vector<int64_t> mixed_lengths(std::string_view kind, int64_t count, int64_t longest);

// Longest first, `size` at a time.
std::vector<std::vector<int64_t>> sorted_batches(std::vector<int64_t> lengths, int64_t size);

}  // namespace bertie::cli
