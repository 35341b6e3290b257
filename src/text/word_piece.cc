#include "text/word_piece.h"

#include <algorithm>

#include "base/error.h"

namespace bertie::text {

namespace {

size_t count_characters(std::string_view utf8) {
  return static_cast<size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

WordPiece::WordPiece(Vocabulary vocabulary, WordPieceOptions options)
    : VocabularyModel(std::move(vocabulary)),
      options_(std::move(options)),
      trie_(vocabulary_),
      continuation_(trie_.descend(options_.continuation_prefix)),
      unknown_id_(vocabulary_.find(options_.unknown_token)) {}

void WordPiece::tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const {
  if (pretoken.size() > options_.max_characters && count_characters(pretoken) > options_.max_characters) {
    return add_unknown(pretoken, out);
  }
  const size_t tokens_before = out.size();
  const auto* bytes = reinterpret_cast<const unsigned char*>(pretoken.data());
  const auto size = static_cast<uint32_t>(pretoken.size());
  uint32_t base = trie_.root();
  for (uint32_t begin = 0; begin < size;) {
    ModelToken longest{-1, begin, begin};
    for (uint32_t at = begin; at < size; ++at) {
      const DoubleArray::Step next = trie_.step(base, bytes[at]);
      if (!next.found) break;
      if (next.value >= 0) {
        longest.id = next.value;
        longest.end = at + 1;
      }
      base = next.base;
    }
    if (longest.id < 0) {
      out.resize(tokens_before);
      return add_unknown(pretoken, out);
    }
    out.push_back(longest);
    begin = longest.end;
    base = continuation_;
  }
}

std::optional<int32_t> WordPiece::unknown_id() const { return unknown_id_ < 0 ? std::nullopt : std::optional(unknown_id_); }

void WordPiece::add_unknown(std::string_view pretoken, std::vector<ModelToken>& out) const {
  if (unknown_id_ < 0) {
    fail(ErrorCode::invalid_text, "the vocabulary has no entry for a word of the text and no unknown token \"{}\"",
         options_.unknown_token);
  }
  out.push_back({unknown_id_, 0, static_cast<uint32_t>(pretoken.size())});
}

}  // namespace bertie::text
