// Which rows of padded [B, S] tensors a packed run works on, and the way there and back.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/kernel.h"

namespace bertie {

class PaddedRows {
 public:
  // The attended rows of sequences [first, last), `mask` [B, S] not zero. Where `first_column` is set the row of column 0 is there
  // even where it is masked out: as a query only.
  PaddedRows(std::span<const uint8_t> mask, int64_t columns, int64_t first, int64_t last, bool first_column);

  const PackedBatch& batch() const { return batch_; }
  // Rows of [B * S, ...], ascending.
  std::span<const int64_t> sources() const { return sources_; }

  // Copies the rows, of `bytes` each, from a padded tensor.
  void gather(const void* padded, size_t bytes, std::vector<std::byte>& packed) const;
  // And back, but for those that are queries only: they are padding to the caller.
  void scatter(const void* packed, size_t bytes, void* padded) const;

 private:
  std::vector<int64_t> sources_;
  std::vector<int32_t> starts_, columns_, queries_only_;
  PackedBatch batch_;
};

}  // namespace bertie
