// The model of a tokenizer: splits one pre-token into vocabulary entries (WordPiece, BPE, Unigram, WordLevel).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bertie::text {

struct ModelToken {
  int32_t id;
  uint32_t begin, end;  // bytes [begin, end) of the pre-token
};

// Immutable and shareable between threads (caches inside are synchronised or thread-local).
class TokenizerModel {
 public:
  virtual ~TokenizerModel() = default;

  // Appends the tokens of one pre-token (valid UTF-8, already normalised and pre-tokenised) to `out`.
  // Appends nothing where Hugging Face's model gives no token (BPE without an unknown token, for one).
  // Throws Error(invalid_text) where Hugging Face's model refuses the text (no unknown token to stand for it).
  virtual void tokenize(std::string_view pretoken, std::vector<ModelToken>& out) const = 0;

  virtual std::optional<int32_t> token_to_id(std::string_view token) const = 0;
  // Empty where there is none; lives as long as the model.
  virtual std::string_view id_to_token(int32_t id) const = 0;
  // Entries of the vocabulary, as Hugging Face's `get_vocab_size` counts them.
  virtual size_t vocabulary_size() const = 0;
  // One more than the largest id; 0 for an empty vocabulary.
  virtual int32_t id_limit() const = 0;
  // The model's own unknown token, where it states one that its vocabulary holds.
  virtual std::optional<int32_t> unknown_id() const = 0;
};

// From the "model" object of a tokenizer.json; `file` stands for the file in errors.
// Throws Error(invalid_file) naming file and field, Error(unsupported) naming an unknown type.
std::unique_ptr<TokenizerModel> make_model(const nlohmann::json& model, const std::string& file);

}  // namespace bertie::text
