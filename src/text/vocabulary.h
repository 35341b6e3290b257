// Pieces and their ids, both ways.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/model.h"
#include "text/string_pool.h"

namespace bertie::text {

class Vocabulary {
 public:
  // Piece i has ids[i]; ids need not be contiguous. Throws Error(invalid_file) naming a piece or id that occurs twice.
  Vocabulary(StringPool pieces, std::vector<int32_t> ids, const std::string& file);
  // Piece i has id i; of a piece that occurs twice the last id counts.
  explicit Vocabulary(StringPool pieces);

  // -1 where there is none.
  int32_t find(std::string_view piece) const;
  // Empty where there is none.
  std::string_view piece(int32_t id) const;

  const StringPool& pieces() const { return pieces_; }
  int32_t id_at(size_t index) const { return ids_.empty() ? static_cast<int32_t>(index) : ids_[index]; }
  size_t size() const { return pieces_.size(); }
  int32_t id_limit() const { return id_limit_; }

 private:
  // Puts piece `index` into the hash table; where it is there already, returns its former index, else `index`.
  size_t insert(size_t index);

  StringPool pieces_;
  std::vector<int32_t> ids_;     // of each piece; empty: the index itself
  std::vector<uint64_t> slots_;  // open addressing: upper half of the hash, then index + 1; 0 is free
  // id -> index + 1: a table, or where ids are sparse, sorted pairs.
  std::vector<uint32_t> index_of_id_;
  std::vector<std::pair<int32_t, uint32_t>> sparse_ids_;
  int32_t id_limit_ = 0;
};

// What all models answer from their vocabulary.
class VocabularyModel : public TokenizerModel {
 public:
  explicit VocabularyModel(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  std::optional<int32_t> token_to_id(std::string_view token) const final {
    const int32_t id = vocabulary_.find(token);
    return id < 0 ? std::nullopt : std::optional(id);
  }
  std::string_view id_to_token(int32_t id) const final { return vocabulary_.piece(id); }
  size_t vocabulary_size() const final { return vocabulary_.size(); }
  int32_t id_limit() const final { return vocabulary_.id_limit(); }

 protected:
  Vocabulary vocabulary_;
};

}  // namespace bertie::text
