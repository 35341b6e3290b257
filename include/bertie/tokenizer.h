// Text to token ids, equal to Hugging Face `tokenizers` token for token.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/base.h"

namespace bertie {

// One tokenised text or pair. All vectors have one entry a token.
struct Encoding {
  std::vector<int32_t> ids;
  std::vector<int32_t> type_ids;
  std::vector<std::pair<uint32_t, uint32_t>>
      offsets;                               // [start, end) in Unicode characters of its own text; (0, 0) for special tokens
  std::vector<int32_t> sequence_ids;         // 0 first text, 1 second text, -1 special token
  std::vector<int32_t> word_ids;             // pre-token index within its text, -1 special token
  std::vector<uint8_t> special_tokens_mask;  // 1 where the post-processor put the token in

  size_t size() const { return ids.size(); }
};

enum class TruncationStrategy { longest_first, only_first, only_second };

struct Truncation {
  size_t max_length = 512;  // tokens, special ones counted
  size_t stride = 0;        // tokens that consecutive windows share
  TruncationStrategy strategy = TruncationStrategy::longest_first;
};

// Immutable and shareable between threads.
class BERTIE_API Tokenizer {
 public:
  // From a Hugging Face folder (tokenizer.json, else vocab.txt; tokenizer_config.json, special_tokens_map.json)
  // or the path of a tokenizer.json. Throws Error(not_found, invalid_file, unsupported).
  static std::shared_ptr<const Tokenizer> load(const std::string& path);
  // From the text of a tokenizer.json; `name` stands for the file in errors.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view json, const std::string& name = "tokenizer.json");

  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  ~Tokenizer();

  // Neither truncates nor pads, whatever tokenizer.json asks for. Throws Error(invalid_text) on invalid UTF-8.
  Encoding encode(std::string_view text, bool add_special_tokens = true) const;
  Encoding encode_pair(std::string_view first, std::string_view second, bool add_special_tokens = true) const;
  // As encode / encode_pair, cut to windows of `truncation.max_length` tokens, each `stride` tokens into the one before it.
  // The first element is the truncated encoding, the rest are Hugging Face's `overflowing` (whose type ids are the sequence
  // ids, whatever the post-processor's template says). An absent `second` is a single text.
  // Throws Error(invalid_argument) where the special tokens leave no room or the stride is too large, Error(invalid_text)
  // where the text that may not be cut fills the whole length, Error(limit_exceeded) beyond 2^20 pairs of windows.
  std::vector<Encoding> encode_windows(std::string_view first, std::optional<std::string_view> second,
                                       const Truncation& truncation, bool add_special_tokens = true) const;

  size_t vocabulary_size() const;  // added tokens included: one more than the largest id
  std::optional<int32_t> token_to_id(std::string_view token) const;
  // Empty where there is none. An added token that is normalised gives its normalised form, as Hugging Face's does.
  std::string_view id_to_token(int32_t id) const;
  // What marks a token as the continuation of a word: WordPiece's "##"; empty where the model has no such mark.
  std::string_view continuing_subword_prefix() const;
  // Text of these tokens as Hugging Face's `decode` gives it, with the tokenizer's own decoder.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = true) const;

  // The token named by tokenizer_config.json / special_tokens_map.json, else the customary one in the vocabulary.
  std::optional<std::string> mask_token() const;
  std::optional<int32_t> mask_id() const;
  std::optional<int32_t> pad_id() const;
  std::optional<int32_t> unknown_id() const;
  // tokenizer.json's truncation.max_length, where it states one.
  std::optional<size_t> stated_max_length() const;
  // tokenizer_config.json's model_max_length, where it states a plausible one (< 1e9).
  std::optional<size_t> model_max_length() const;
  // The files (or, for from_json, the text) this was made from, canonical tokenizer.json text for keeping in an engine file.
  const std::string& json() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bertie
