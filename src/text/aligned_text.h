// A text under normalisation: its UTF-8 bytes, and for each byte the character of the original it stands for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/unicode.h"

namespace bertie::text {

// Character spans of the original, [start, end).
using Span = std::pair<uint32_t, uint32_t>;

// Every byte of a normalised text stands for one character of the original (Hugging Face keeps a span a byte, but only ever
// copies those of single characters), or for the empty place before it: text put in at the very start.
using Source = uint32_t;
inline constexpr Source kEmptySource = 1u << 31;  // flag: the empty span before this character
inline constexpr size_t kMaxTextBytes = (1u << 31) - 1;

// What a text of `bytes` may become.
inline size_t growth_limit(size_t bytes) { return 64 * bytes + (size_t{1} << 20); }

struct AlignedText {
  std::string text;
  std::vector<Source> source;  // one a byte
  uint32_t start = 0;          // the original's character where the piece under work begins
  size_t limit = 0;            // bytes that a tokenizer in its right mind would not exceed

  void clear() {
    text.clear();
    source.clear();
  }
  void reserve(size_t bytes) {
    text.reserve(bytes);
    source.reserve(bytes);
  }
  void append(std::string_view bytes, Source from) {
    text.append(bytes);
    source.insert(source.end(), bytes.size(), from);
  }
  void append(uint32_t code_point, Source from) {
    char bytes[4];
    append({bytes, encode_utf8(code_point, bytes)}, from);
  }
  void append(const AlignedText& other, size_t begin, size_t end) {
    text.append(other.text, begin, end - begin);
    source.insert(source.end(), other.source.begin() + static_cast<ptrdiff_t>(begin),
                  other.source.begin() + static_cast<ptrdiff_t>(end));
  }
  // Replaces all by valid UTF-8 that starts at the original's character `first`.
  void assign(std::string_view original, uint32_t first);

  // Throws Error(invalid_text) where a hostile tokenizer file makes the text grow without end.
  void check_growth() const {
    if (text.size() > limit) fail_growth();
  }

  // The original's characters that bytes [begin, end) stand for; begin < end.
  Span span(size_t begin, size_t end) const {
    const Source last = source[end - 1];
    return {source[begin] & ~kEmptySource, (last & kEmptySource) != 0 ? last & ~kEmptySource : last + 1};
  }

 private:
  [[noreturn]] static void fail_growth();
};

// Hugging Face's `NormalizedString::transform`: the characters of `from` are consumed in order, and each character written
// either replaces the next one (and takes its place in the original) or is put in after those consumed so far.
class Rewriter {
 public:
  Rewriter(const AlignedText& from, AlignedText& to) : from_(from), to_(to) {}

  // change <= 0: replaces the next character and consumes -change more; change > 0: put in.
  void write(uint32_t code_point, int change) {
    if (change > 0) {
      to_.append(code_point, inserted_source());
      return;
    }
    to_.append(code_point, offset_ < from_.source.size() ? from_.source[offset_] : inserted_source());
    for (int n = 0; n <= -change; ++n) consume();
  }
  // Copies the characters up to byte `end`.
  void copy(size_t end) {
    to_.append(from_, offset_, end);
    offset_ = end;
  }
  void consume() {
    if (offset_ < from_.text.size()) offset_ += utf8_length(from_.text[offset_]);
  }
  size_t offset() const { return offset_; }

 private:
  Source inserted_source() const { return offset_ == 0 ? from_.start | kEmptySource : from_.source[offset_ - 1]; }

  const AlignedText& from_;
  AlignedText& to_;
  size_t offset_ = 0;
};

}  // namespace bertie::text
