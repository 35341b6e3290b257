// From a text to its tokens: added tokens, normalizer, pre-tokenizer, model.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/added_tokens.h"
#include "text/bert_words.h"
#include "text/model.h"
#include "text/model_source.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"

namespace bertie::text {

// Immutable and shareable between threads.
class Pipeline {
 public:
  // Of a tokenizer.json, its "model" apart; `file` stands for it in errors. Throws Error(invalid_file, unsupported).
  Pipeline(const nlohmann::json& document, ModelSource model, const std::string& file);

  // Replaces `out` by the tokens of `text`; the spaces are counted only where `with_spaces`.
  // Throws Error(invalid_text): not UTF-8, longer than 2 GiB, or refused by the model.
  void tokenize(std::string_view text, bool with_spaces, TextTokens& out) const;

  const AddedTokens& added() const { return *added_; }
  const TokenizerModel& model() const { return *model_; }

 private:
  struct Buffers;
  // Tokens of a part of the text between added tokens.
  void tokenize_part(std::string_view part, uint32_t first, bool with_spaces, uint32_t& word, Buffers& buffers,
                     TextTokens& out) const;

  std::unique_ptr<TokenizerModel> model_;
  std::unique_ptr<Normalizer> normalizer_;       // may be nullptr
  std::unique_ptr<PreTokenizer> pre_tokenizer_;  // may be nullptr
  std::unique_ptr<AddedTokens> added_;
  std::unique_ptr<BertWords> bert_words_;  // the short way, where it is one
  bool tokens_are_text_ = false;           // a token's text is what stands in the pre-token, even an unknown one's
};

}  // namespace bertie::text
