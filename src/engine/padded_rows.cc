#include "engine/padded_rows.h"

#include <algorithm>
#include <cstring>

namespace bertie {

PaddedRows::PaddedRows(std::span<const uint8_t> mask, int64_t columns, int64_t first, int64_t last, bool first_column) {
  starts_.push_back(0);
  for (int64_t row = first; row < last; ++row) {
    const auto own = mask.subspan(static_cast<size_t>(row * columns), static_cast<size_t>(columns));
    const bool lead = first_column && columns > 0 && own[0] == 0;
    for (int64_t column = 0; column < columns; ++column) {
      if (own[static_cast<size_t>(column)] == 0 && !(lead && column == 0)) continue;
      sources_.push_back(row * columns + column);
      columns_.push_back(static_cast<int32_t>(column));
    }
    queries_only_.push_back(lead ? 1 : 0);
    starts_.push_back(static_cast<int32_t>(sources_.size()));
    batch_.longest = std::max<int64_t>(batch_.longest, starts_.back() - starts_[starts_.size() - 2]);
  }
  batch_.tokens = static_cast<int64_t>(sources_.size());
  batch_.sequences = last - first;
  batch_.cumulative_lengths = starts_.data();
  batch_.columns = columns_.data();
  batch_.queries_only = queries_only_.data();
}

void PaddedRows::gather(const void* padded, size_t bytes, std::vector<std::byte>& packed) const {
  packed.resize(sources_.size() * bytes);
  for (size_t i = 0; i < sources_.size(); ++i) {
    std::memcpy(packed.data() + i * bytes, static_cast<const std::byte*>(padded) + static_cast<size_t>(sources_[i]) * bytes,
                bytes);
  }
}

void PaddedRows::scatter(const void* packed, size_t bytes, void* padded) const {
  for (int64_t b = 0; b < batch_.sequences; ++b) {
    for (int64_t token = batch_.first_key(b); token < batch_.cumulative_lengths[b + 1]; ++token) {
      std::memcpy(static_cast<std::byte*>(padded) + static_cast<size_t>(sources_[static_cast<size_t>(token)]) * bytes,
                  static_cast<const std::byte*>(packed) + static_cast<size_t>(token) * bytes, bytes);
    }
  }
}

}  // namespace bertie
