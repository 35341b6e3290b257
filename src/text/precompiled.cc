#include "text/precompiled.h"

#include <utf8proc.h>

#include <cstring>

#include "base/error.h"
#include "text/transforms.h"

namespace bertie::text {

namespace {

// Longer graphemes are never looked up whole (bytes).
constexpr size_t kGraphemeLimit = 6;

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string result;
  result.reserve(text.size() / 4 * 3 + 2);
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    held += 6;
    if (held >= 8) {
      held -= 8;
      result.push_back(static_cast<char>(bits >> held & 0xff));
    }
  }
  return result;
}

// A unit of the trie, in the layout of darts-clone.
bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
uint32_t value_of(uint32_t unit) { return unit & 0x7fffffffu; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000ffu; }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }

size_t grapheme_end(std::string_view text, size_t begin) {
  Decoded c = decode_utf8(text.data() + begin);
  utf8proc_int32_t state = 0;
  size_t end = begin + c.length;
  while (end < text.size()) {
    const Decoded next = decode_utf8(text.data() + end);
    if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(c.code_point),
                                         static_cast<utf8proc_int32_t>(next.code_point), &state)) {
      break;
    }
    c = next;
    end += c.length;
  }
  return end;
}

// Collects (character, change) pairs, the last of which may still be changed.
class Changes {
 public:
  Changes(const AlignedText& from, AlignedText& to) : to_(to), rewriter_(from, to) {}

  void keep(uint32_t code_point) { add(code_point, 0); }

  void replace(size_t old_count, std::string_view text) {
    to_.check_growth();
    const size_t count = count_code_points(text);
    size_t index = 0;
    for_each_character(text, [&](uint32_t c, size_t, size_t) { add(c, index++ < old_count ? 0 : 1); });
    // Where nothing was written before, Hugging Face loses count of what is taken out; so do we.
    if (count < old_count && held_) change_ -= static_cast<int>(old_count - count);
  }

  // Copies what lies before byte `end` as it is; false where the count was lost and it has to go through `keep`.
  bool copy(size_t begin, size_t end) {
    flush();
    if (rewriter_.offset() != begin) return false;
    // The last character stays open to change.
    const size_t last = end - 1;
    rewriter_.copy(last);
    return true;
  }

  void flush() {
    if (held_) rewriter_.write(code_point_, change_);
    held_ = false;
  }

 private:
  void add(uint32_t code_point, int change) {
    flush();
    code_point_ = code_point;
    change_ = change;
    held_ = true;
  }

  AlignedText& to_;
  Rewriter rewriter_;
  uint32_t code_point_ = 0;
  int change_ = 0;
  bool held_ = false;
};

}  // namespace

Precompiled::Precompiled(const JsonFields& fields) {
  const auto map = decode_base64(fields.text("precompiled_charsmap"));
  uint32_t bytes = 0;
  if (map && map->size() >= 4) std::memcpy(&bytes, map->data(), 4);
  if (!map || map->size() < 4 || bytes > map->size() - 4 || bytes % 4 != 0 || bytes == 0) {
    fields.refuse("precompiled_charsmap", "base64 of a SentencePiece character map");
  }
  units_.resize(bytes / 4);
  std::memcpy(units_.data(), map->data() + 4, bytes);
  replacements_ = map->substr(4 + bytes);
  if (find_invalid_utf8(replacements_) != kInvalidNone) fields.refuse("precompiled_charsmap", "a map to UTF-8");
  for (size_t c = 0; c < ascii_changes_.size(); ++c) {
    const char byte = static_cast<char>(c);
    ascii_changes_[c] = replacement({&byte, 1}).has_value();
  }
}

std::optional<std::string_view> Precompiled::replacement(std::string_view text) const {
  uint64_t at = offset_of(units_[0]);
  for (const char c : text) {
    const auto label = static_cast<unsigned char>(c);
    if (label == 0) break;
    at ^= label;
    if (at >= units_.size()) break;
    const uint32_t unit = units_[at];
    if (label_of(unit) != label) break;
    at ^= offset_of(unit);
    if (!has_leaf(unit)) continue;
    if (at >= units_.size()) break;
    const uint32_t begin = value_of(units_[at]);
    // A map that points outside its texts, or into a character, replaces nothing.
    if (begin > replacements_.size()) break;
    const std::string_view found = std::string_view(replacements_).substr(begin);
    if (!found.empty() && (static_cast<unsigned char>(found[0]) & 0xc0) == 0x80) break;
    return found.substr(0, found.find('\0'));
  }
  return std::nullopt;
}

void Precompiled::apply(AlignedText& text, AlignedText& spare) const {
  const std::string_view bytes = text.text;
  const size_t size = bytes.size();
  // A lone ASCII character that the map leaves alone: what follows is ASCII too, and no line feed after a carriage return.
  const auto is_plain = [&](size_t i) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    if (c >= 0x80 || ascii_changes_[c]) return false;
    return i + 1 == size || (static_cast<unsigned char>(bytes[i + 1]) < 0x80 && !(c == '\r' && bytes[i + 1] == '\n'));
  };

  spare.clear();
  spare.reserve(size);
  spare.limit = text.limit;
  Changes changes(text, spare);
  bool changed = false;
  for (size_t i = 0; i < size;) {
    size_t plain = i;
    while (plain < size && is_plain(plain)) ++plain;
    if (plain > i) {
      if (changes.copy(i, plain)) i = plain - 1;
      while (i < plain) changes.keep(static_cast<unsigned char>(bytes[i++]));
      continue;
    }
    const size_t end = grapheme_end(bytes, i);
    if (end - i < kGraphemeLimit) {
      if (const auto found = replacement(bytes.substr(i, end - i))) {
        changes.replace(count_code_points(bytes.substr(i, end - i)), *found);
        changed = true;
        i = end;
        continue;
      }
    }
    while (i < end) {
      const Decoded c = decode_utf8(bytes.data() + i);
      if (const auto found = replacement(bytes.substr(i, c.length))) {
        changes.replace(1, *found);
        changed = true;
      } else {
        changes.keep(c.code_point);
      }
      i += c.length;
    }
  }
  if (!changed) return;
  changes.flush();
  take_result(text, spare);
}

}  // namespace bertie::text
