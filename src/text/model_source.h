// tokenizer.json read in one pass: the model's large fields as flat arrays, the rest as a small JSON document.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/model.h"
#include "text/string_pool.h"

namespace bertie::text {

// The "model" object of a tokenizer.json.
struct ModelSource {
  enum class Vocabulary { absent, ids, scores };

  nlohmann::json fields = nlohmann::json::object();  // all but "vocab" and "merges"
  Vocabulary vocabulary = Vocabulary::absent;
  StringPool pieces;
  std::vector<int32_t> ids;    // {"piece": id}: one a piece
  std::vector<double> scores;  // [["piece", score]]: one a piece

  bool has_merges = false;
  StringPool merges;  // left, right, left, right, ...
};

struct TokenizerSource {
  nlohmann::json document;  // the whole file, its "model" taken out
  bool has_model = false;
  ModelSource model;
};

// `file` stands for the file in errors.
// Throws Error(invalid_file) naming what is wrong: not JSON, a vocabulary with a negative, huge or fractional id, ...
TokenizerSource parse_tokenizer_json(std::string_view text, const std::string& file);

// As above for the text of the "model" object alone.
ModelSource parse_model_json(std::string_view text, const std::string& file);

// The fast way to a model: nothing large goes through a JSON document. See make_model in text/model.h for the errors.
std::unique_ptr<TokenizerModel> make_model(ModelSource source, const std::string& file);

// Ids and the number of pieces stay below this.
inline constexpr int32_t kTokenIdLimit = 1 << 24;

// A decimal number as serde_json reads it without its `float_roundtrip` feature (which is how Hugging Face reads scores):
// at most one rounding off the nearest double, and scores that tie there must tie here. `text` is a valid JSON number.
double parse_score(std::string_view text);

}  // namespace bertie::text
