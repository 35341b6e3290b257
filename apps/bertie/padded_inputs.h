// Padded [batch, sequence] inputs from .npy files, and their rows packed without the masked-out tokens.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "bertie/engine.h"
#include "bertie/model.h"

namespace bertie::cli {

class PaddedInputs {
 public:
  // `assignments` are NAME=FILE.npy. Throws Error(invalid_argument) for a name that the network lacks, a shape or dtype that
  // does not fit, ids outside int32, or no input_ids.
  PaddedInputs(const Model& model, const std::vector<std::string>& assignments);

  int64_t batch() const { return batch_; }
  int64_t sequence() const { return sequence_; }
  // Tokens that are attended to in a row.
  int64_t attended(int64_t row) const;
  bool is_attended(int64_t row, int64_t column) const { return mask_.empty() || mask_[at(row, column)] != 0; }

 private:
  friend class PackedRows;
  size_t at(int64_t row, int64_t column) const { return static_cast<size_t>(row * sequence_ + column); }
  void read(const Model& model, const std::string& name, const std::string& path);
  void check_range(const std::vector<int32_t>& ids, int64_t count, const std::string& path) const;

  int64_t batch_ = -1, sequence_ = -1;
  std::string shape_from_;  // the input that set the shape
  PositionRule rule_;
  std::vector<int32_t> ids_, types_, positions_, mask_;  // empty: not given
};

// Rows [first, last) packed end to end; those without an attended token are left out.
class PackedRows {
 public:
  PackedRows(const PaddedInputs& inputs, int64_t first, int64_t last);
  Batch batch() const;
  int64_t sequences() const { return static_cast<int64_t>(starts_.size()) - 1; }
  int64_t tokens() const { return static_cast<int64_t>(ids_.size()); }
  int64_t longest() const { return longest_; }

 private:
  std::vector<int32_t> ids_, types_, positions_, columns_, starts_;
  int64_t longest_ = 0;
};

}  // namespace bertie::cli
