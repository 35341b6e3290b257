#include "text/pipeline.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "text/unicode.h"

namespace bertie::text {

namespace {

// Buffers that a long text made larger are given back.
constexpr size_t kKeptBytes = 1 << 20;

constexpr uint32_t kByteLevelSpace = 0x120;

bool is_token_space(uint32_t c) { return c == kByteLevelSpace || has_class(c, kSpace); }

Spaces count_spaces(std::string_view text) {
  Spaces spaces{0, 0};
  const char* end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const Decoded c = decode_utf8(p);
    if (!is_token_space(c.code_point)) break;
    ++spaces.leading;
    p += c.length;
  }
  for (const char* p = end; p > text.data();) {
    const Decoded c = decode_utf8_before(text.data(), p);
    if (!is_token_space(c.code_point)) break;
    ++spaces.trailing;
    p -= c.length;
  }
  return spaces;
}

}  // namespace

struct Pipeline::Buffers {
  std::vector<AddedTokens::Part> raw_parts, parts;
  Pieces pieces;
  std::vector<ModelToken> tokens;

  // Added tokens found in the normalised text: later steps rewrite the text they stood in.
  struct Found {
    TextToken token;
    Spaces spaces;
  };
  std::vector<Found> found;

  static Buffers& get() {
    thread_local Buffers buffers;
    return buffers;
  }
  void give_back() {
    if (pieces.text.text.capacity() + pieces.spare_text.text.capacity() > kKeptBytes) pieces = {};
  }
};

Pipeline::Pipeline(const nlohmann::json& document, ModelSource model, const std::string& file) {
  const JsonFields fields(document, file);
  if (const std::string version = fields.text_or("version", "1.0"); version != "1.0") {
    fail(ErrorCode::unsupported, "{}: tokenizer.json of version '{}' is not supported", file, version);
  }
  const auto type = model.fields.find("type");
  tokens_are_text_ = type != model.fields.end() && *type == "Unigram";
  model_ = make_model(std::move(model), file);
  if (const auto* json = fields.find("normalizer")) normalizer_ = make_normalizer(*json, file);
  if (const auto* json = fields.find("pre_tokenizer")) pre_tokenizer_ = make_pre_tokenizer(*json, file);
  added_ = std::make_unique<AddedTokens>(fields.find("added_tokens"), *model_, normalizer_.get(), file);

  const auto* bert = dynamic_cast<const BertNormalizer*>(normalizer_.get());
  const auto* splits = fields.find("pre_tokenizer");
  if (bert != nullptr && splits != nullptr && (*splits)["type"] == "BertPreTokenizer") {
    bert_words_ = std::make_unique<BertWords>(bert->options());
  }
}

void Pipeline::tokenize(std::string_view text, bool with_spaces, TextTokens& out) const {
  out.tokens.clear();
  out.spaces.clear();
  if (text.size() > kMaxTextBytes) fail(ErrorCode::invalid_text, "a text of {} bytes is longer than 2 GiB", text.size());
  if (const size_t at = find_invalid_utf8(text); at != kInvalidNone) {
    fail(ErrorCode::invalid_text, "the text is not valid UTF-8 at byte {}", at);
  }
  Buffers& buffers = Buffers::get();
  uint32_t word = 0;
  if (!added_->any(false)) {
    if (!text.empty()) tokenize_part(text, 0, with_spaces, word, buffers, out);
  } else {
    added_->find(text, false, buffers.raw_parts);
    uint32_t character = 0;
    size_t at = 0;  // the byte of `character`
    for (const AddedTokens::Part& part : buffers.raw_parts) {
      const std::string_view view = text.substr(part.begin, part.end - part.begin);
      // A token's spaces may reach back into the token before it.
      if (part.begin < at) character -= static_cast<uint32_t>(count_code_points(text.substr(part.begin, at - part.begin)));
      const uint32_t first = character;
      if (part.id < 0) {
        tokenize_part(view, first, with_spaces, word, buffers, out);
      }
      at = part.end;
      if (at == text.size() && part.id < 0) break;
      character += static_cast<uint32_t>(count_code_points(view));
      if (part.id >= 0) {
        out.tokens.push_back({part.id, first, character, word++});
        if (with_spaces) out.spaces.push_back(count_spaces(view));
      }
    }
  }
  buffers.give_back();
}

void Pipeline::tokenize_part(std::string_view part, uint32_t first, bool with_spaces, uint32_t& word, Buffers& buffers,
                             TextTokens& out) const {
  const bool find_added = added_->any(true);
  if (bert_words_ && !find_added && !with_spaces && bert_words_->tokenize(part, first, *model_, word, out.tokens)) return;

  Pieces& pieces = buffers.pieces;
  AlignedText& text = pieces.text;
  text.assign(part, first);
  if (normalizer_) normalizer_->apply(text, pieces.spare_text);
  if (text.text.empty()) return;
  if (text.text.size() > kMaxTextBytes / 4)
    fail(ErrorCode::invalid_text, "a text of {} bytes when normalised is too long", text.text.size());
  pieces.pieces.clear();
  buffers.found.clear();
  const auto add_piece = [&](size_t begin, size_t end, int32_t added) {
    pieces.pieces.push_back(
        {static_cast<uint32_t>(begin), static_cast<uint32_t>(end), text.source[begin] & ~kEmptySource, added});
  };
  if (find_added) {
    added_->find(text.text, true, buffers.parts);
    for (const AddedTokens::Part& found : buffers.parts) {
      if (found.id < 0) {
        add_piece(found.begin, found.end, Piece::kNone);
        continue;
      }
      const Span span = text.span(found.begin, found.end);
      const Piece piece{static_cast<uint32_t>(found.begin), static_cast<uint32_t>(found.end), 0, Piece::kNone};
      add_piece(found.begin, found.end, static_cast<int32_t>(buffers.found.size()));
      buffers.found.push_back({{found.id, span.first, span.second, 0}, count_spaces(pieces.view(piece))});
    }
  } else {
    add_piece(0, text.text.size(), Piece::kNone);
  }
  if (pre_tokenizer_) pre_tokenizer_->apply(pieces);

  for (const Piece& piece : pieces.pieces) {
    if (piece.added != Piece::kNone) {
      Buffers::Found& found = buffers.found[static_cast<size_t>(piece.added)];
      found.token.word = word++;
      out.tokens.push_back(found.token);
      if (with_spaces) out.spaces.push_back(found.spaces);
      continue;
    }
    const std::string_view view = pieces.view(piece);
    buffers.tokens.clear();
    model_->tokenize(view, buffers.tokens);
    for (const ModelToken& token : buffers.tokens) {
      const Span span = text.span(piece.begin + token.begin, piece.begin + token.end);
      out.tokens.push_back({token.id, span.first, span.second, word});
      if (with_spaces) {
        out.spaces.push_back(
            count_spaces(tokens_are_text_ ? view.substr(token.begin, token.end - token.begin) : model_->id_to_token(token.id)));
      }
    }
    ++word;
  }
}

}  // namespace bertie::text
