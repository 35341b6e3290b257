// Metaspace: spaces become a visible character (U+2581) that starts words.
#pragma once

#include <cstdint>
#include <string>

#include "formats/json.h"
#include "text/pre_tokenizer.h"

namespace bertie::text {

// The required field `name`, a string of one character.
uint32_t parse_character(const JsonFields& fields, std::string_view name);

struct Metaspace {
  enum class Prepend { always, first, never };

  std::string replacement;  // UTF-8 of one character
  Prepend prepend = Prepend::always;
  bool splits = true;

  // Of a pre-tokenizer or a decoder; legacy "add_prefix_space" included. Throws Error(invalid_file).
  static Metaspace parse(const JsonFields& fields);
  void split(Pieces& pieces) const;
};

}  // namespace bertie::text
