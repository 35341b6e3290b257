// Rewriting steps that normalizers are made of. Each leaves the result in `text`; `spare` is a buffer to work in.
#pragma once

#include <utility>

#include "text/aligned_text.h"

namespace bertie::text {

inline void take_result(AlignedText& text, AlignedText& spare) {
  spare.start = text.start;
  spare.limit = text.limit;
  std::swap(text, spare);
}

// Calls visit(code_point, offset, length) for each character.
template <typename Visit>
void for_each_character(std::string_view text, const Visit& visit) {
  for (size_t i = 0; i < text.size();) {
    const Decoded c = decode_utf8(text.data() + i);
    visit(c.code_point, i, c.length);
    i += c.length;
  }
}

// Replaces each character by rewrite(code_point): a range of code points, all standing where the character stood.
template <typename Rewrite>
void map_characters(AlignedText& text, AlignedText& spare, const Rewrite& rewrite) {
  spare.clear();
  spare.reserve(text.text.size());
  for_each_character(text.text, [&](uint32_t c, size_t offset, size_t) {
    for (const uint32_t mapped : rewrite(c)) spare.append(mapped, text.source[offset]);
  });
  take_result(text, spare);
}

// Takes out the characters for which keep(code_point) is false.
template <typename Keep>
void filter_characters(AlignedText& text, AlignedText& spare, const Keep& keep) {
  spare.clear();
  spare.reserve(text.text.size());
  size_t run = 0;  // start of what is kept and not yet copied
  for_each_character(text.text, [&](uint32_t c, size_t offset, size_t length) {
    if (keep(c)) return;
    spare.append(text, run, offset);
    run = offset + length;
  });
  if (run == 0) return;
  spare.append(text, run, text.text.size());
  take_result(text, spare);
}

void lowercase(AlignedText& text, AlignedText& spare);

// NFD, NFC, NFKD, NFKC.
struct UnicodeForm {
  bool compatibility;
  bool composing;
};
void apply_form(UnicodeForm form, AlignedText& text, AlignedText& spare);

// Puts `prefix` before the text, standing where its first character stands. Nothing where the text is empty.
void prepend(std::string_view prefix, AlignedText& text, AlignedText& spare);

}  // namespace bertie::text
