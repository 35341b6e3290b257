// A batch that owns what it points to.
#pragma once

#include <cstdint>
#include <vector>

#include "bertie/engine.h"

namespace bertie {

struct Packed {
  std::vector<int32_t> ids, starts{0}, rows;

  void add(const std::vector<int32_t>& sequence) {
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    starts.push_back(static_cast<int32_t>(ids.size()));
  }
  Batch view() const {
    Batch batch;
    batch.token_ids = ids;
    batch.cumulative_lengths = starts;
    batch.head_rows = rows;
    return batch;
  }
};

}  // namespace bertie
