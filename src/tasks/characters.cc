#include "tasks/characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

namespace bertie::tasks {
namespace {
bool starts_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) != 0x80; }
}  // namespace

Characters::Characters(std::string_view text, uint32_t count) : text_(text) {
  size_t at = 0;
  for (; at < text.size() && starts_.size() < count; ++at) {
    if (starts_character(text[at])) starts_.push_back(at);
  }
  while (at < text.size() && !starts_character(text[at])) ++at;
  starts_.push_back(at);
}

std::string_view Characters::slice(uint32_t start, uint32_t end) const {
  end = std::min(end, size());
  start = std::min(start, end);
  return text_.substr(starts_[start], starts_[end] - starts_[start]);
}

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), starts_character));
}

std::string lower_case(std::string_view text) {
  std::string lower;
  lower.reserve(text.size());
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t character = 0;
    const utf8proc_ssize_t used = utf8proc_iterate(bytes, left, &character);
    if (used < 1) {  // not UTF-8: kept, for the tokenizer to complain about
      lower.push_back(static_cast<char>(*bytes++));
      --left;
      continue;
    }
    std::array<utf8proc_uint8_t, 4> encoded{};
    const utf8proc_ssize_t size = utf8proc_encode_char(utf8proc_tolower(character), encoded.data());
    lower.append(reinterpret_cast<const char*>(encoded.data()), static_cast<size_t>(size));
    bytes += used;
    left -= used;
  }
  return lower;
}

}  // namespace bertie::tasks
