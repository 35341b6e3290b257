// Added tokens: those of tokenizer.json's "added_tokens", found in a text before the model sees it.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "formats/json.h"
#include "text/model.h"
#include "text/normalizer.h"

namespace bertie::text {

struct AddedToken {
  int32_t id;
  std::string content;
  bool single_word, lstrip, rstrip, normalized, special;
};

// Byte strings with values, found longest first.
class TokenTrie {
 public:
  TokenTrie() : nodes_(1) { starts_.fill(false); }
  // The empty string is left out; of equal strings the first counts.
  void add(std::string_view text, int32_t value);
  bool empty() const { return nodes_.size() == 1; }
  bool may_start(char byte) const { return starts_[static_cast<unsigned char>(byte)]; }
  struct Match {
    size_t length = 0;  // 0: none
    int32_t value = -1;
  };
  Match longest(std::string_view text) const;

 private:
  struct Node {
    int32_t value = -1;
    std::vector<std::pair<unsigned char, uint32_t>> children;  // sorted
  };
  std::vector<Node> nodes_;
  std::array<bool, 256> starts_;
};

// Hugging Face's AddedVocabulary. Immutable and shareable between threads.
class AddedTokens {
 public:
  // `list` may be null. `normalizer` may be nullptr.
  AddedTokens(const nlohmann::json* list, const TokenizerModel& model, const Normalizer* normalizer, const std::string& file);

  // A token found, or (id -1) the text between two; bytes [begin, end).
  struct Part {
    size_t begin, end;
    int32_t id;
  };
  // The parts of a text in order. `normalized` chooses the tokens that are looked for in the normalised text.
  void find(std::string_view text, bool normalized, std::vector<Part>& parts) const;
  bool any(bool normalized) const { return !(normalized ? normalized_ : raw_).empty(); }

  std::optional<int32_t> token_to_id(std::string_view content) const;
  // The form that decoding uses: normalised where the token is. Empty where the id is no added token's.
  std::string_view id_to_token(int32_t id) const;
  bool is_special(std::string_view content) const { return special_.contains(std::string(content)); }
  int32_t id_limit() const { return id_limit_; }  // one more than the largest id

 private:
  struct Entry {
    AddedToken token;
    std::string normalized_content;
  };
  void add(AddedToken token, const TokenizerModel& model, const Normalizer* normalizer, int32_t& next_id);

  std::unordered_map<int32_t, Entry> by_id_;
  std::unordered_map<std::string, int32_t> ids_;
  std::unordered_set<std::string> special_;
  TokenTrie raw_, normalized_;
  int32_t id_limit_ = 0;
};

}  // namespace bertie::text
