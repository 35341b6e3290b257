#include "text/bert_normalizer.h"

#include "text/transforms.h"

namespace bertie::text {

namespace {

constexpr uint32_t kReplacement = 0xfffd;

bool is_cleaned_away(uint32_t c) { return c == 0 || c == kReplacement || has_class(c, kControl); }

Mapping single(uint32_t c) {
  Mapping result;
  result.code_points[0] = c;
  result.size = 1;
  return result;
}

}  // namespace

BertNormalizer::Options BertNormalizer::Options::parse(const JsonFields& fields) {
  Options options;
  options.clean_text = fields.boolean_or("clean_text", true);
  options.handle_chinese_chars = fields.boolean_or("handle_chinese_chars", true);
  options.lowercase = fields.boolean_or("lowercase", true);
  options.strip_accents = fields.boolean_or("strip_accents", options.lowercase);
  return options;
}

void BertNormalizer::apply(AlignedText& text, AlignedText& spare) const {
  if (options_.clean_text) {
    filter_characters(text, spare, [](uint32_t c) { return !is_cleaned_away(c); });
    map_characters(text, spare, [](uint32_t c) { return single(has_class(c, kSpace) ? ' ' : c); });
  }
  if (options_.handle_chinese_chars) {
    map_characters(text, spare, [](uint32_t c) {
      Mapping result = single(c);
      if (has_class(c, kChinese)) {
        result.code_points = {' ', c, ' '};
        result.size = 3;
      }
      return result;
    });
  }
  if (options_.strip_accents) {
    apply_form({false, false}, text, spare);
    filter_characters(text, spare, [](uint32_t c) { return !has_class(c, kNonspacing); });
  }
  if (options_.lowercase) lowercase(text, spare);
}

BertCharacter bert_character(uint32_t code_point, const BertNormalizer::Options& options) {
  using Kind = BertCharacter::Kind;
  BertCharacter result{};
  if (options.clean_text && is_cleaned_away(code_point)) {
    result.kind = Kind::nothing;
    return result;
  }
  if (has_class(code_point, kSpace)) {
    result.kind = Kind::space;
    return result;
  }
  const bool chinese = options.handle_chinese_chars && has_class(code_point, kChinese);
  const Mapping parts = options.strip_accents ? decompose(code_point, false) : single(code_point);
  size_t characters = 0;
  bool punctuation = false;
  result.kind = Kind::involved;
  for (const uint32_t part : parts) {
    if (options.strip_accents) {
      if (has_class(part, kNonspacing)) continue;
      if (combining_class(part) != 0) return result;  // moves among the marks around it
    }
    for (const uint32_t lower : options.lowercase ? to_lowercase(part) : single(part)) {
      if (size_t{result.size} + 4 > BertCharacter::kMaxText || has_class(lower, kSpace)) return result;
      result.size = static_cast<uint8_t>(result.size + encode_utf8(lower, result.text + result.size));
      punctuation = punctuation || has_class(lower, kPunctuation);
      ++characters;
    }
  }
  if (characters > 1 && (punctuation || chinese)) return result;
  result.kind = characters == 0 ? Kind::nothing : punctuation || chinese ? Kind::single : Kind::word;
  return result;
}

}  // namespace bertie::text
