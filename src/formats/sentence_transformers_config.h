// The files by which a sentence-transformers folder says how sentence vectors are made: modules.json, 1_Pooling/config.json, ...
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bertie {

// One step of modules.json: "Transformer", "Pooling", "Dense", "Normalize" or "Dropout", with its folder inside the model folder.
struct SentenceModule {
  std::string kind;
  std::string path;  // empty: the model folder itself
};

// Throws Error(invalid_file) for broken JSON or a path that leaves the folder; Error(unsupported) naming a module type that
// is not sentence-transformers' own. The first is always a Transformer.
std::vector<SentenceModule> parse_sentence_modules(std::string_view text, const std::string& file);

struct SentencePooling {
  int64_t dimension = 0;
  std::string mode;  // of the `pool` op
};

// Old (pooling_mode_* flags) and new (pooling_mode) spelling. Throws Error(unsupported) for other modes and for several at once.
SentencePooling parse_sentence_pooling(std::string_view text, const std::string& file);

struct SentenceDense {
  int64_t in_features = 0;
  int64_t out_features = 0;
  bool bias = true;
  std::string activation;  // torch's class name: "Tanh", "Identity"
};

SentenceDense parse_sentence_dense(std::string_view text, const std::string& file);

struct SentenceLimits {
  std::optional<int64_t> max_seq_length;
  bool do_lower_case = false;
};

// sentence_bert_config.json.
SentenceLimits parse_sentence_limits(std::string_view text, const std::string& file);

// truncation.max_length of a tokenizer.json, read without building the rest. Nothing where it states none or is not JSON.
std::optional<int64_t> tokenizer_truncation(std::string_view text);
// model_max_length of a tokenizer_config.json. Nothing where it is absent, not JSON, or transformers' "very large".
std::optional<int64_t> tokenizer_model_max_length(std::string_view text);

}  // namespace bertie
