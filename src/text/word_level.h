// WordLevel: a pre-token is one vocabulary entry, or unknown.
#pragma once

#include "text/vocabulary.h"

namespace bertie::text {

class WordLevel final : public VocabularyModel {
 public:
  WordLevel(Vocabulary vocabulary, std::string unknown_token);

  void tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const override;
  std::optional<int32_t> unknown_id() const override;

 private:
  std::string unknown_token_;
  int32_t unknown_id_;  // -1 where the vocabulary lacks it
};

}  // namespace bertie::text
