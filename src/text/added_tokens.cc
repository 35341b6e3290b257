#include "text/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace bertie::text {

void TokenTrie::add(std::string_view text, int32_t value) {
  if (text.empty()) return;
  starts_[static_cast<unsigned char>(text[0])] = true;
  uint32_t at = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = nodes_[at].children;
    const auto found = std::lower_bound(children.begin(), children.end(), std::pair<unsigned char, uint32_t>{byte, 0});
    if (found != children.end() && found->first == byte) {
      at = found->second;
      continue;
    }
    const auto next = static_cast<uint32_t>(nodes_.size());
    children.insert(found, {byte, next});
    nodes_.emplace_back();
    at = next;
  }
  if (nodes_[at].value < 0) nodes_[at].value = value;
}

TokenTrie::Match TokenTrie::longest(std::string_view text) const {
  Match best;
  uint32_t at = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto& children = nodes_[at].children;
    const auto found = std::lower_bound(children.begin(), children.end(), std::pair<unsigned char, uint32_t>{byte, 0});
    if (found == children.end() || found->first != byte) break;
    at = found->second;
    if (nodes_[at].value >= 0) best = {i + 1, nodes_[at].value};
  }
  return best;
}

AddedTokens::AddedTokens(const nlohmann::json* list, const TokenizerModel& model, const Normalizer* normalizer,
                         const std::string& file) {
  if (list == nullptr || list->is_null()) return;
  if (!list->is_array()) fail(ErrorCode::invalid_file, "{}: field 'added_tokens' must be a list", file);
  // Ids are given anew, as Hugging Face does: the model's where it knows the token, else the next free ones.
  auto next_id = static_cast<int32_t>(model.vocabulary_size());
  for (const auto& item : *list) {
    const JsonFields fields(item, file, "added_tokens.");
    AddedToken token;
    token.id = -1;
    token.content = fields.text("content");
    token.special = fields.boolean_or("special", false);
    token.single_word = fields.boolean_or("single_word", false);
    token.lstrip = fields.boolean_or("lstrip", false);
    token.rstrip = fields.boolean_or("rstrip", false);
    token.normalized = fields.boolean_or("normalized", !token.special);
    if (!token.content.empty()) add(std::move(token), model, normalizer, next_id);
  }
  std::vector<int32_t> order;
  for (const auto& [id, entry] : by_id_) order.push_back(id);
  std::sort(order.begin(), order.end());
  for (const int32_t id : order) {
    const Entry& entry = by_id_.at(id);
    (entry.token.normalized ? normalized_ : raw_).add(entry.normalized_content, id);
  }
  if (!order.empty()) id_limit_ = order.back() + 1;
}

void AddedTokens::add(AddedToken token, const TokenizerModel& model, const Normalizer* normalizer, int32_t& next_id) {
  if (const auto known = ids_.find(token.content); known != ids_.end()) {
    token.id = known->second;
  } else if (const auto id = model.token_to_id(token.content)) {
    token.id = *id;
  } else {
    token.id = next_id++;
  }
  Entry entry{token, token.content};
  if (token.normalized && normalizer != nullptr) {
    AlignedText text, spare;
    text.assign(token.content, 0);
    normalizer->apply(text, spare);
    entry.normalized_content = std::move(text.text);
  }
  ids_[token.content] = token.id;
  if (token.special) special_.insert(token.content);
  by_id_[token.id] = std::move(entry);
}

void AddedTokens::find(std::string_view text, bool normalized, std::vector<Part>& parts) const {
  const TokenTrie& trie = normalized ? normalized_ : raw_;
  parts.clear();
  size_t done = 0;
  for (size_t i = 0; i < text.size() && !trie.empty();) {
    if (!trie.may_start(text[i])) {
      ++i;
      continue;
    }
    const TokenTrie::Match match = trie.longest(text.substr(i));
    if (match.length == 0) {
      ++i;
      continue;
    }
    const AddedToken& token = by_id_.find(match.value)->second.token;
    size_t begin = i, end = i + match.length;
    i = end;
    const char* data = text.data();
    if (token.single_word) {
      const bool joins_left = begin > 0 && has_class(decode_utf8_before(data, data + begin).code_point, kWord);
      const bool joins_right = end < text.size() && has_class(decode_utf8(data + end).code_point, kWord);
      if (joins_left || joins_right) continue;
    }
    if (token.lstrip) {
      while (begin > done) {
        const Decoded c = decode_utf8_before(data, data + begin);
        if (!has_class(c.code_point, kSpace)) break;
        begin -= c.length;
      }
      // The token before may have taken part of this one's text already.
      begin = std::max(begin, done);
    }
    if (token.rstrip) {
      while (end < text.size()) {
        const Decoded c = decode_utf8(data + end);
        if (!has_class(c.code_point, kSpace)) break;
        end += c.length;
      }
    }
    if (done < begin) parts.push_back({done, begin, -1});
    parts.push_back({begin, end, match.value});
    done = end;
  }
  if (done < text.size()) parts.push_back({done, text.size(), -1});
}

std::optional<int32_t> AddedTokens::token_to_id(std::string_view content) const {
  const auto found = ids_.find(std::string(content));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::string_view AddedTokens::id_to_token(int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? std::string_view() : std::string_view(found->second.normalized_content);
}

}  // namespace bertie::text
