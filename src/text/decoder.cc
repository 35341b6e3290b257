#include "text/decoder.h"

#include <numeric>
#include <utility>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/metaspace.h"
#include "text/normalizer.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace bertie::text {

namespace {

using Tokens = std::vector<std::string>;

// A decoder made of one function.
template <typename Apply>
class Simple final : public Decoder {
 public:
  explicit Simple(Apply apply) : apply_(std::move(apply)) {}
  void apply(Tokens& tokens) const override { apply_(tokens); }

 private:
  Apply apply_;
};

template <typename Apply>
std::unique_ptr<Decoder> simple(Apply apply) {
  return std::make_unique<Simple<Apply>>(std::move(apply));
}

// What no decoder in its right mind makes of one token (bytes).
constexpr size_t kLongestToken = size_t{1} << 24;

constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty()) return;
  std::string result;
  size_t done = 0;
  for (size_t at = text.find(from); at != text.npos; at = text.find(from, done)) {
    result.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  if (done == 0) return;
  text = result.append(text, done);
}

void fuse(Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.clear();
  tokens.push_back(std::move(all));
}

// What tokenisation put between words that were written together.
void clean_up(std::string& token) {
  constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (const auto& [from, to] : kRules) replace_all(token, from, to);
}

void decode_word_piece(const std::string& prefix, bool cleanup, Tokens& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (i != 0) token = token.starts_with(prefix) ? token.substr(prefix.size()) : " " + token;
    if (cleanup) clean_up(token);
  }
}

void decode_bpe(const std::string& suffix, Tokens& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) replace_all(tokens[i], suffix, i + 1 == tokens.size() ? "" : " ");
}

void decode_metaspace(const Metaspace& metaspace, Tokens& tokens) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const bool drop = i == 0 && metaspace.prepend != Metaspace::Prepend::never;
    replace_all(tokens[i], metaspace.replacement, drop ? "" : " ");
  }
}

// Replaces each longest beginning of a character that does not go on rightly by U+FFFD.
std::string repair_utf8(std::string_view bytes) {
  std::string result;
  while (!bytes.empty()) {
    const size_t valid = std::min(find_invalid_utf8(bytes), bytes.size());
    result.append(bytes, 0, valid);
    bytes.remove_prefix(valid);
    if (bytes.empty()) break;
    result += kReplacementCharacter;
    const auto lead = static_cast<unsigned char>(bytes[0]);
    const size_t length = lead >= 0xc2 && lead <= 0xf4 ? utf8_length(bytes[0]) : 1;
    const auto fits = [&](size_t i) {
      const auto byte = static_cast<unsigned char>(bytes[i]);
      if (i > 1) return (byte & 0xc0) == 0x80;
      const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
      const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
      return byte >= low && byte <= high;
    };
    size_t taken = 1;
    while (taken < length && taken < bytes.size() && fits(taken)) ++taken;
    bytes.remove_prefix(taken);
  }
  return result;
}

void decode_byte_level(Tokens& tokens) {
  std::string bytes;
  for (const std::string& token : tokens) {
    const size_t before = bytes.size();
    for (size_t i = 0; i < token.size();) {
      const Decoded c = decode_utf8(token.data() + i);
      const int byte = byte_of_character(c.code_point);
      if (byte < 0) {  // not of the alphabet: the token stands for itself
        bytes.resize(before);
        bytes += token;
        break;
      }
      bytes.push_back(static_cast<char>(byte));
      i += c.length;
    }
  }
  tokens.assign(1, repair_utf8(bytes));
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The byte of <0x61>, -1 where the token is none.
int fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return -1;
  const int high = token[3] == '+' ? 0 : hex_digit(token[3]), low = hex_digit(token[4]);  // Rust reads "+5" too
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

void decode_byte_fallback(Tokens& tokens) {
  Tokens result;
  std::string bytes;
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (find_invalid_utf8(bytes) == kInvalidNone) {
      result.push_back(bytes);
    } else {
      result.insert(result.end(), bytes.size(), std::string(kReplacementCharacter));
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    const int byte = fallback_byte(token);
    if (byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    flush();
    result.push_back(std::move(token));
  }
  flush();
  tokens = std::move(result);
}

void decode_strip(const std::string& character, size_t start, size_t stop, Tokens& tokens) {
  for (std::string& token : tokens) {
    std::string_view rest = token;
    for (size_t i = 0; i < start && rest.starts_with(character); ++i) rest.remove_prefix(character.size());
    for (size_t i = 0; i < stop && rest.ends_with(character); ++i) rest.remove_suffix(character.size());
    token = std::string(rest);
  }
}

void decode_replace(const Pattern& pattern, const std::string& content, Tokens& tokens) {
  for (std::string& token : tokens) {
    std::string result;
    size_t done = 0;
    pattern.for_each_match(token, [&](size_t begin, size_t end) {
      result.append(token, done, begin - done).append(content);
      if (result.size() > kLongestToken) fail(ErrorCode::invalid_text, "the tokenizer's decoder makes a token too long");
      done = end;
    });
    token = result.append(token, done);
  }
}

class DecoderSequence final : public Decoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<Decoder>> steps) : steps_(std::move(steps)) {}
  void apply(Tokens& tokens) const override {
    for (const auto& step : steps_) step->apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> steps_;
};

std::unique_ptr<Decoder> make(const nlohmann::json& json, const std::string& file, int nesting) {
  const JsonFields fields(json, file, "decoder.");
  const std::string type = fields.text("type");
  if (type == "WordPiece") {
    return simple([prefix = fields.text_or("prefix", "##"), cleanup = fields.boolean_or("cleanup", true)](Tokens& tokens) {
      decode_word_piece(prefix, cleanup, tokens);
    });
  }
  if (type == "BPEDecoder") {
    return simple([suffix = fields.text_or("suffix", "</w>")](Tokens& tokens) { decode_bpe(suffix, tokens); });
  }
  if (type == "ByteLevel") return simple(decode_byte_level);
  if (type == "Metaspace") {
    return simple([metaspace = Metaspace::parse(fields)](Tokens& tokens) { decode_metaspace(metaspace, tokens); });
  }
  if (type == "Fuse") return simple(fuse);
  if (type == "ByteFallback") return simple(decode_byte_fallback);
  if (type == "Strip") {
    return simple([character = utf8_of(parse_character(fields, "content")),
                   start = static_cast<size_t>(fields.integer_or("start", 0, JsonFields::kMax, 0)),
                   stop = static_cast<size_t>(fields.integer_or("stop", 0, JsonFields::kMax, 0))](Tokens& tokens) {
      decode_strip(character, start, stop, tokens);
    });
  }
  if (type == "Replace") {
    return simple([pattern = Pattern::parse(fields), content = fields.text("content")](Tokens& tokens) {
      decode_replace(pattern, content, tokens);
    });
  }
  if (type == "Sequence") {
    const nlohmann::json* list = fields.find("decoders");
    if (list == nullptr || !list->is_array()) fields.refuse("decoders", "a list");
    if (nesting >= kMaxNesting) fields.refuse("decoders", fmt::format("nested at most {} deep", kMaxNesting));
    std::vector<std::unique_ptr<Decoder>> steps;
    for (const auto& item : *list) steps.push_back(make(item, file, nesting + 1));
    return std::make_unique<DecoderSequence>(std::move(steps));
  }
  fail(ErrorCode::unsupported, "{}: decoder type '{}' is not supported", file, type);
}

}  // namespace

std::unique_ptr<Decoder> make_decoder(const nlohmann::json& decoder, const std::string& file) { return make(decoder, file, 0); }

}  // namespace bertie::text
