#include "text/byte_level.h"

#include "text/transforms.h"

namespace bertie::text {

namespace {

constexpr bool is_itself(uint32_t byte) { return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad); }

// Bytes that are no printable Latin-1 character take the characters from U+0100 on, in order.
constexpr std::array<uint16_t, 256> make_code_points() {
  std::array<uint16_t, 256> result{};
  uint16_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte) result[byte] = is_itself(byte) ? static_cast<uint16_t>(byte) : next++;
  return result;
}
constexpr auto kCodePoints = make_code_points();

constexpr std::array<ByteCharacter, 256> make_characters() {
  std::array<ByteCharacter, 256> result{};
  for (size_t byte = 0; byte < 256; ++byte) {
    const uint16_t c = kCodePoints[byte];
    if (c < 0x80) {
      result[byte] = {{static_cast<char>(c), 0}, 1};
    } else {
      result[byte] = {{static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))}, 2};
    }
  }
  return result;
}

constexpr std::array<int16_t, 0x144> make_bytes() {
  std::array<int16_t, 0x144> result{};
  result.fill(-1);
  for (size_t byte = 0; byte < 256; ++byte) result[kCodePoints[byte]] = static_cast<int16_t>(byte);
  return result;
}
constexpr auto kBytes = make_bytes();

// What the expression tells apart.
enum class Kind : uint8_t { space, letter, number, other };

Kind kind_of(uint32_t c) {
  const ClassBits bits = class_of(c);
  if ((bits & kSpace) != 0) return Kind::space;
  if ((bits & kLetter) != 0) return Kind::letter;
  return (bits & kRegexNumber) != 0 ? Kind::number : Kind::other;
}

constexpr std::array<Kind, 128> make_ascii_kinds() {
  std::array<Kind, 128> kinds{};
  for (size_t c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= 9 && c <= 13);
    kinds[c] = space ? Kind::space : letter ? Kind::letter : c >= '0' && c <= '9' ? Kind::number : Kind::other;
  }
  return kinds;
}
constexpr auto kAsciiKinds = make_ascii_kinds();

struct Classified {
  Kind kind;
  uint32_t length;
};

Classified classify(std::string_view text, size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return {kAsciiKinds[byte], 1};
  const Decoded c = decode_utf8(text.data() + at);
  return {kind_of(c.code_point), c.length};
}

size_t contraction_length(std::string_view after_apostrophe) {
  if (after_apostrophe.empty()) return 0;
  switch (after_apostrophe[0]) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 2;
    case 'r':
    case 'v': return after_apostrophe.substr(1, 1) == "e" ? 3 : 0;
    case 'l': return after_apostrophe.substr(1, 1) == "l" ? 3 : 0;
    default: return 0;
  }
}

}  // namespace

const std::array<ByteCharacter, 256> kByteCharacters = make_characters();

int byte_of_character(uint32_t code_point) { return code_point < kBytes.size() ? kBytes[code_point] : -1; }

void append_byte_level(const AlignedText& from, size_t begin, size_t end, AlignedText& to) {
  const size_t start = to.text.size();
  to.text.resize(start + 2 * (end - begin));
  to.source.resize(start + 2 * (end - begin));
  char* out = to.text.data() + start;
  Source* source = to.source.data() + start;
  for (size_t i = begin; i < end; ++i) {
    const ByteCharacter& character = kByteCharacters[static_cast<unsigned char>(from.text[i])];
    out[0] = character.bytes[0];
    out[1] = character.bytes[1];
    source[0] = source[1] = from.source[i];
    out += character.size;
    source += character.size;
  }
  const auto size = static_cast<size_t>(out - to.text.data());
  to.text.resize(size);
  to.source.resize(size);
}

void to_byte_level(AlignedText& text, AlignedText& spare) {
  spare.clear();
  append_byte_level(text, 0, text.text.size(), spare);
  take_result(text, spare);
}

size_t gpt2_word_end(std::string_view text, size_t begin) {
  size_t i = begin;
  if (text[i] == '\'') {
    const size_t length = contraction_length(text.substr(i + 1));
    if (length != 0) return i + length;
  }
  Classified first = classify(text, i);
  if (text[i] == ' ' && i + 1 < text.size()) {  // one space goes with the word after it
    const Classified second = classify(text, i + 1);
    if (second.kind != Kind::space) {
      first = second;
      ++i;
    }
  }
  i += first.length;
  size_t before_last = begin;  // where the last character of the run begins
  while (i < text.size()) {
    const Classified c = classify(text, i);
    if (c.kind != first.kind) break;
    before_last = i;
    i += c.length;
  }
  // Of several spaces, the last is left to the word that follows.
  if (first.kind == Kind::space && i < text.size() && before_last > begin) return before_last;
  return i;
}

}  // namespace bertie::text
