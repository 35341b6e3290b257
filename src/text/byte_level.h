// GPT-2's byte-level alphabet: every byte as a printable character, and the expression that splits words.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "text/aligned_text.h"

namespace bertie::text {

// A byte's character as UTF-8, one or two bytes.
struct ByteCharacter {
  char bytes[2];
  uint8_t size;
};
extern const std::array<ByteCharacter, 256> kByteCharacters;

// The byte that a character stands for, -1 for none.
int byte_of_character(uint32_t code_point);

// Appends the characters of bytes [begin, end) of `from`.
void append_byte_level(const AlignedText& from, size_t begin, size_t end, AlignedText& to);
void to_byte_level(AlignedText& text, AlignedText& spare);

// The end of the match of GPT-2's expression at `begin`:
// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// Matches follow one another without gaps; `begin` < text.size().
size_t gpt2_word_end(std::string_view text, size_t begin);

}  // namespace bertie::text
