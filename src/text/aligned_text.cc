#include "text/aligned_text.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace bertie::text {

void AlignedText::assign(std::string_view original, uint32_t first) {
  text.assign(original);
  source.resize(original.size());
  start = first;
  limit = growth_limit(original.size());
  uint32_t character = first;
  size_t i = 0;
  while (i < original.size()) {
    const size_t ascii = ascii_prefix(original.substr(i));
    std::iota(source.begin() + static_cast<ptrdiff_t>(i), source.begin() + static_cast<ptrdiff_t>(i + ascii), character);
    i += ascii;
    character += static_cast<uint32_t>(ascii);
    while (i < original.size() && static_cast<unsigned char>(original[i]) >= 0x80) {
      const size_t length = utf8_length(original[i]);
      std::fill_n(source.begin() + static_cast<ptrdiff_t>(i), length, character++);
      i += length;
    }
  }
}

void AlignedText::fail_growth() { fail(ErrorCode::invalid_text, "the tokenizer's rules make this text grow without bound"); }

}  // namespace bertie::text
