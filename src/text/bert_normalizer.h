// BertNormalizer: clean text, space out Chinese characters, strip accents, lower case.
#pragma once

#include "text/normalizer.h"
#include "text/unicode.h"

namespace bertie::text {

class BertNormalizer final : public Normalizer {
 public:
  struct Options {
    bool clean_text = true;
    bool handle_chinese_chars = true;
    bool strip_accents = true;
    bool lowercase = true;

    static Options parse(const JsonFields& fields);
  };

  explicit BertNormalizer(Options options) : options_(options) {}
  const Options& options() const { return options_; }
  void apply(AlignedText& text, AlignedText& spare) const override;

 private:
  Options options_;
};

// What BertNormalizer and BertPreTokenizer together make of one character.
struct BertCharacter {
  enum class Kind : uint8_t {
    word,      // `text` belongs to a word
    single,    // `text` is a word of its own: punctuation, a Chinese character
    space,     // ends a word
    nothing,   // is dropped
    involved,  // depends on what stands around it, or does not fit here: the general path must take the text
  };
  static constexpr size_t kMaxText = 10;

  char text[kMaxText];  // UTF-8; meant to be copied whole, then cut to `size`
  uint8_t size;
  Kind kind;
};
BertCharacter bert_character(uint32_t code_point, const BertNormalizer::Options& options);

}  // namespace bertie::text
