// BertNormalizer and BertPreTokenizer in one pass: each character of a text is looked up once and goes to a word.
#pragma once

#include <array>
#include <string_view>

#include "text/bert_normalizer.h"
#include "text/model.h"
#include "text/post_processor.h"

namespace bertie::text {

class BertWords {
 public:
  explicit BertWords(const BertNormalizer::Options& options);

  // Appends the tokens of valid UTF-8 that begins at character `first`, with word numbers from `word` on, which is moved
  // past them. False, and nothing appended, where a character depends on those around it: the general path must do it.
  bool tokenize(std::string_view text, uint32_t first, const TokenizerModel& model, uint32_t& word,
                std::vector<TextToken>& out) const;

 private:
  using Kind = BertCharacter::Kind;

  BertNormalizer::Options options_;
  std::array<Kind, 128> ascii_kinds_;
  std::array<char, 128> ascii_characters_;
  mutable CodePointPages<BertCharacter> pages_;
};

}  // namespace bertie::text
