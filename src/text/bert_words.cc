#include "text/bert_words.h"

#include <cstring>
#include <numeric>

namespace bertie::text {

namespace {

// The word under construction, and where its bytes come from.
class Word {
 public:
  Word(const TokenizerModel& model, uint32_t& number, std::vector<TextToken>& out) : model_(model), number_(number), out_(out) {
    buffers_.tokens.clear();
  }

  bool empty() const { return size_ == 0; }

  // Room for `count` more bytes; written(count) then takes them in.
  char* room(size_t count) {
    if (size_ + count > buffers_.bytes.size()) buffers_.bytes.resize(2 * (size_ + count));
    return buffers_.bytes.data() + size_;
  }
  // As many ASCII characters from `character` on.
  void written_ascii(size_t count, uint32_t character) {
    if (size_ == 0) {
      plain_ = true;
      start_ = character;
    } else if (!plain_) {
      const size_t before = buffers_.source.size();
      buffers_.source.resize(before + count);
      std::iota(buffers_.source.begin() + static_cast<ptrdiff_t>(before), buffers_.source.end(), character);
    }
    size_ += count;
  }
  // All of one character.
  void written(size_t count, uint32_t character) {
    if (size_ == 0) {
      plain_ = false;
      buffers_.source.clear();
    }
    interrupt();
    buffers_.source.insert(buffers_.source.end(), count, character);
    size_ += count;
  }
  // From here on bytes and characters no longer go together.
  void interrupt() {
    if (!plain_ || size_ == 0) return;
    plain_ = false;
    buffers_.source.resize(size_);
    std::iota(buffers_.source.begin(), buffers_.source.end(), start_);
  }

  void finish() {
    if (size_ == 0) return;
    std::vector<ModelToken>& tokens = buffers_.tokens;
    tokens.clear();
    model_.tokenize({buffers_.bytes.data(), size_}, tokens);
    const uint32_t* source = buffers_.source.data();
    for (const ModelToken& token : tokens) {
      if (plain_) {
        out_.push_back({token.id, start_ + token.begin, start_ + token.end, number_});
      } else {
        out_.push_back({token.id, source[token.begin], source[token.end - 1] + 1, number_});
      }
    }
    ++number_;
    size_ = 0;
  }

 private:
  struct Buffers {
    std::vector<char> bytes = std::vector<char>(256);
    std::vector<uint32_t> source;
    std::vector<ModelToken> tokens;
  };
  static Buffers& buffers() {
    thread_local Buffers buffers;
    return buffers;
  }

  const TokenizerModel& model_;
  uint32_t& number_;
  std::vector<TextToken>& out_;
  Buffers& buffers_ = buffers();
  size_t size_ = 0;
  bool plain_ = true;  // ASCII so far: byte i is character start_ + i
  uint32_t start_ = 0;
};

}  // namespace

BertWords::BertWords(const BertNormalizer::Options& options) : options_(options) {
  for (uint32_t c = 0; c < 128; ++c) {
    const BertCharacter entry = bert_character(c, options);
    ascii_kinds_[c] = entry.kind;
    ascii_characters_[c] = entry.text[0];
  }
}

bool BertWords::tokenize(std::string_view text, uint32_t first, const TokenizerModel& model, uint32_t& word_number,
                         std::vector<TextToken>& out) const {
  const size_t size_before = out.size();
  const uint32_t number_before = word_number;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  const size_t size = text.size();
  Word word(model, word_number, out);
  uint32_t character = first;
  size_t i = 0;
  while (i < size) {
    if (bytes[i] < 0x80) {
      switch (ascii_kinds_[bytes[i]]) {
        case Kind::word: {
          size_t end = i + 1;
          while (end < size && bytes[end] < 0x80 && ascii_kinds_[bytes[end]] == Kind::word) ++end;
          const size_t count = end - i;
          char* to = word.room(count);
          for (size_t k = 0; k < count; ++k) to[k] = ascii_characters_[bytes[i + k]];
          word.written_ascii(count, character);
          character += static_cast<uint32_t>(count);
          i = end;
          continue;
        }
        case Kind::single:
          word.finish();
          *word.room(1) = ascii_characters_[bytes[i]];
          word.written_ascii(1, character);
          word.finish();
          break;
        case Kind::space: word.finish(); break;
        default: word.interrupt(); break;
      }
      ++i;
      ++character;
      continue;
    }
    const Decoded c = decode_utf8(text.data() + i);
    const BertCharacter& entry =
        pages_.get(c.code_point, [this](uint32_t code_point) { return bert_character(code_point, options_); });
    switch (entry.kind) {
      case Kind::single: word.finish(); [[fallthrough]];
      case Kind::word:
        std::memcpy(word.room(BertCharacter::kMaxText), entry.text, BertCharacter::kMaxText);
        word.written(entry.size, character);
        if (entry.kind == Kind::single) word.finish();
        break;
      case Kind::space: word.finish(); break;
      case Kind::nothing: word.interrupt(); break;
      case Kind::involved:
        out.resize(size_before);
        word_number = number_before;
        return false;
    }
    i += c.length;
    ++character;
  }
  word.finish();
  return true;
}

}  // namespace bertie::text
