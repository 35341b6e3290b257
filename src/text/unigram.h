// Unigram: the split of a word whose pieces have the greatest sum of scores (Kudo 2018), by Viterbi over the bytes.
#pragma once

#include <array>

#include "text/double_array.h"
#include "text/vocabulary.h"

namespace bertie::text {

struct UnigramOptions {
  std::optional<int32_t> unknown_id;
  bool byte_fallback = false;  // spell what is unknown as pieces <0x00> to <0xFF>
};

class Unigram final : public VocabularyModel {
 public:
  // scores[id] of piece id. Throws Error(invalid_file) where the unknown id is not in the vocabulary.
  Unigram(Vocabulary vocabulary, std::vector<double> scores, const UnigramOptions& options, const std::string& file);

  void tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const override;
  std::optional<int32_t> unknown_id() const override { return options_.unknown_id; }

 private:
  // The best path that ends at a byte: its last piece and where that begins.
  struct Node {
    double score;
    uint32_t begin;
    int32_t id;
  };

  void find_best_path(std::string_view text, std::vector<Node>& nodes) const;
  // Tokens of a run of unknown characters.
  void add_unknown(std::string_view text, uint32_t begin, uint32_t end, std::vector<ModelToken>& out) const;
  int32_t require_unknown_id() const;

  std::vector<double> scores_;
  UnigramOptions options_;
  double unknown_score_;
  std::array<int32_t, 256> byte_ids_;  // of <0x00> to <0xFF>; -1 where there is none
  DoubleArray trie_;
  uint32_t cache_owner_;
};

}  // namespace bertie::text
