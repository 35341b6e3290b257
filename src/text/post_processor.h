// Post-processors and truncation: from the tokens of one or two texts to finished encodings.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bertie/tokenizer.h"
#include "formats/json.h"

namespace bertie::text {

// A token of one text.
struct TextToken {
  int32_t id;
  uint32_t begin, end;  // characters of the text
  uint32_t word;
};

// How many spaces a token starts and ends with, byte-level ones included.
struct Spaces {
  uint32_t leading, trailing;
};

struct TextTokens {
  std::vector<TextToken> tokens;
  std::vector<Spaces> spaces;  // one a token where the post-processor trims offsets, else empty
};

// A range of tokens of a text.
struct TokenRange {
  size_t begin, end;
};
// The windows of one text: the first is what truncation leaves, the rest Hugging Face's `overflowing`.
using Windows = std::vector<TokenRange>;

// The windows of a text and, where there is one, of its pair (else empty), of `limit` tokens together.
// Throws Error(invalid_argument) where the stride is too large, Error(invalid_text) where no token of the text to be cut
// would be left.
std::array<Windows, 2> truncate(std::array<size_t, 2> lengths, bool pair, size_t limit, const Truncation& truncation);

// TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, a Sequence of these, or nothing. Immutable.
class PostProcessor {
 public:
  PostProcessor();
  // From the "post_processor" object of a tokenizer.json; `file` stands for the file in errors.
  // Throws Error(invalid_file) naming file and field, Error(unsupported) naming an unknown type.
  PostProcessor(const nlohmann::json& json, const std::string& file);

  bool trims_offsets() const { return !trims_.empty(); }
  size_t added_tokens(bool pair) const;  // how many special tokens it puts in

  Encoding process(std::span<const TextTokens> texts, bool add_special_tokens) const;
  // One encoding a combination of windows, in Hugging Face's order.
  std::vector<Encoding> process_windows(std::span<const TextTokens> texts, const std::array<Windows, 2>& windows,
                                        bool add_special_tokens) const;

 private:
  // A step of a template: a text (0, 1), or special tokens.
  struct Step {
    int text = -1;
    int32_t type_id = 0;
    std::vector<int32_t> ids;
  };
  // Which window of its text each step takes.
  using Choice = std::vector<uint32_t>;

  void parse(const nlohmann::json& json, const std::string& file, int nesting);
  void parse_template(const JsonFields& fields);
  std::vector<Step> parse_steps(const JsonFields& fields, const char* name, int texts) const;
  void set_templates(const JsonFields& fields, std::vector<Step> single, std::vector<Step> pair);
  void append_text(const TextTokens& text, TokenRange range, int32_t index, int32_t type_id, Encoding& out) const;
  void trim(Spaces spaces, size_t index, std::pair<uint32_t, uint32_t>& offsets) const;

  std::array<std::vector<Step>, 2> templates_;        // for one text, for a pair
  std::array<std::vector<Step>, 2> plain_templates_;  // without special tokens
  bool has_template_ = false;
  bool roberta_ = false;
  std::vector<bool> trims_;  // a pass that trims offsets each: its add_prefix_space
};

}  // namespace bertie::text
