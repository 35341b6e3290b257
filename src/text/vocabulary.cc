#include "text/vocabulary.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "text/hash.h"

namespace bertie::text {

namespace {

constexpr uint64_t kTagMask = 0xffffffff00000000ull;

size_t table_size(size_t entries) { return std::bit_ceil(std::max<size_t>(2 * entries, 16)); }

}  // namespace

Vocabulary::Vocabulary(StringPool pieces, std::vector<int32_t> ids, const std::string& file)
    : pieces_(std::move(pieces)), ids_(std::move(ids)), slots_(table_size(pieces_.size())) {
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const size_t first = insert(i);
    if (first != i) {
      fail(ErrorCode::invalid_file, "{}: model.vocab holds \"{}\" twice, with the ids {} and {}", file, pieces_[i], ids_[first],
           ids_[i]);
    }
    id_limit_ = std::max(id_limit_, ids_[i] + 1);
  }
  const auto refuse = [&](uint32_t first, size_t second) {
    fail(ErrorCode::invalid_file, "{}: model.vocab gives the id {} to \"{}\" and to \"{}\"", file, ids_[second], pieces_[first],
         pieces_[second]);
  };
  if (static_cast<size_t>(id_limit_) <= 4 * size() + 1024) {
    index_of_id_.resize(static_cast<size_t>(id_limit_));
    for (size_t i = 0; i < size(); ++i) {
      uint32_t& entry = index_of_id_[static_cast<size_t>(ids_[i])];
      if (entry != 0) refuse(entry - 1, i);
      entry = static_cast<uint32_t>(i + 1);
    }
  } else {
    for (size_t i = 0; i < size(); ++i) sparse_ids_.emplace_back(ids_[i], static_cast<uint32_t>(i));
    std::sort(sparse_ids_.begin(), sparse_ids_.end());
    for (size_t i = 1; i < size(); ++i) {
      if (sparse_ids_[i].first == sparse_ids_[i - 1].first) refuse(sparse_ids_[i - 1].second, sparse_ids_[i].second);
    }
  }
}

Vocabulary::Vocabulary(StringPool pieces)
    : pieces_(std::move(pieces)), slots_(table_size(pieces_.size())), id_limit_(static_cast<int32_t>(pieces_.size())) {
  for (size_t i = 0; i < pieces_.size(); ++i) insert(i);
}

size_t Vocabulary::insert(size_t index) {
  const std::string_view piece = pieces_[index];
  const uint64_t hash = hash_bytes(piece);
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask;; at = (at + 1) & mask) {
    uint64_t& slot = slots_[at];
    const uint64_t filled = (hash & kTagMask) | (index + 1);
    if (slot == 0) {
      slot = filled;
      return index;
    }
    const size_t other = static_cast<uint32_t>(slot) - 1;
    if (((slot ^ hash) & kTagMask) == 0 && pieces_[other] == piece) {
      slot = filled;
      return other;
    }
  }
}

int32_t Vocabulary::find(std::string_view piece) const {
  const uint64_t hash = hash_bytes(piece);
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash & mask; slots_[at] != 0; at = (at + 1) & mask) {
    const size_t index = static_cast<uint32_t>(slots_[at]) - 1;
    if (((slots_[at] ^ hash) & kTagMask) == 0 && pieces_[index] == piece) return id_at(index);
  }
  return -1;
}

std::string_view Vocabulary::piece(int32_t id) const {
  if (id < 0 || id >= id_limit_) return {};
  if (ids_.empty()) return pieces_[static_cast<size_t>(id)];
  if (!index_of_id_.empty()) {
    const uint32_t entry = index_of_id_[static_cast<size_t>(id)];
    return entry == 0 ? std::string_view{} : pieces_[entry - 1];
  }
  const auto found = std::lower_bound(sparse_ids_.begin(), sparse_ids_.end(), std::pair(id, uint32_t{0}));
  return found == sparse_ids_.end() || found->first != id ? std::string_view{} : pieces_[found->second];
}

}  // namespace bertie::text
