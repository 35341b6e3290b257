#include "text/word_level.h"

#include "base/error.h"

namespace bertie::text {

WordLevel::WordLevel(Vocabulary vocabulary, std::string unknown_token)
    : VocabularyModel(std::move(vocabulary)),
      unknown_token_(std::move(unknown_token)),
      unknown_id_(vocabulary_.find(unknown_token_)) {}

void WordLevel::tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const {
  int32_t id = vocabulary_.find(pretoken);
  if (id < 0) id = unknown_id_;
  if (id < 0) {
    fail(ErrorCode::invalid_text, "the vocabulary has neither a word of the text nor the unknown token \"{}\"", unknown_token_);
  }
  out.push_back({id, 0, static_cast<uint32_t>(pretoken.size())});
}

std::optional<int32_t> WordLevel::unknown_id() const { return unknown_id_ < 0 ? std::nullopt : std::optional(unknown_id_); }

}  // namespace bertie::text
