// WordPiece: the longest vocabulary entry that starts the word, again and again (Schuster and Nakajima 2012; BERT).
#pragma once

#include "text/double_array.h"
#include "text/vocabulary.h"

namespace bertie::text {

struct WordPieceOptions {
  std::string unknown_token = "[UNK]";
  std::string continuation_prefix = "##";
  size_t max_characters = 100;  // a longer word is unknown
};

class WordPiece final : public VocabularyModel {
 public:
  WordPiece(Vocabulary vocabulary, WordPieceOptions options);

  void tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const override;
  std::optional<int32_t> unknown_id() const override;

 private:
  void add_unknown(std::string_view pretoken, std::vector<ModelToken>& out) const;

  WordPieceOptions options_;
  DoubleArray trie_;
  uint32_t continuation_;  // the trie's node for the prefix
  int32_t unknown_id_;     // -1 where the vocabulary lacks it
};

}  // namespace bertie::text
