// Pre-tokenizers: what a tokenizer.json's "pre_tokenizer" splits a normalised text into.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/json.h"
#include "text/aligned_text.h"

namespace bertie::text {

// A part of a text on its way to being a pre-token, or an added token found in it.
struct Piece {
  uint32_t begin, end;    // bytes of the text
  uint32_t start;         // the original's character where it was cut out
  int32_t added = kNone;  // index into the caller's list of added tokens found

  static constexpr int32_t kNone = -1;
};

// The pieces of one text, in order; none is empty.
struct Pieces {
  AlignedText text;
  std::vector<Piece> pieces;
  AlignedText spare_text;  // buffers to work in
  std::vector<Piece> spare_pieces;

  std::string_view view(const Piece& piece) const {
    return std::string_view(text.text).substr(piece.begin, piece.end - piece.begin);
  }
};

// Immutable and shareable between threads.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Splits and rewrites all pieces but those of added tokens.
  virtual void apply(Pieces& pieces) const = 0;
};

// From the "pre_tokenizer" object of a tokenizer.json; `file` stands for the file in errors.
// Throws Error(invalid_file) naming file and field, Error(unsupported) naming an unknown type.
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const nlohmann::json& pre_tokenizer, const std::string& file);

}  // namespace bertie::text
