#include "text/metaspace.h"

#include "text/split.h"
#include "text/unicode.h"

namespace bertie::text {

uint32_t parse_character(const JsonFields& fields, std::string_view name) {
  const std::string text = fields.text(name);
  if (text.empty() || utf8_length(text[0]) != text.size()) fields.refuse(name, "one character");
  return decode_utf8(text.data()).code_point;
}

Metaspace Metaspace::parse(const JsonFields& fields) {
  Metaspace result;
  result.replacement = utf8_of(parse_character(fields, "replacement"));
  result.splits = fields.boolean_or("split", true);
  const bool add_prefix_space = fields.boolean_or("add_prefix_space", true);
  const std::string scheme = fields.text_or("prepend_scheme", add_prefix_space ? "always" : "never");
  if (scheme == "always") {
    result.prepend = Prepend::always;
  } else if (scheme == "first") {
    result.prepend = Prepend::first;
  } else if (scheme == "never") {
    result.prepend = Prepend::never;
  } else {
    fields.refuse("prepend_scheme", "always, first or never");
  }
  if (!add_prefix_space && result.prepend != Prepend::never) {
    fields.refuse("prepend_scheme", "never where add_prefix_space is false");
  }
  return result;
}

void Metaspace::split(Pieces& pieces) const {
  // First the rewriting, then the splitting at the new characters.
  AlignedText& out = pieces.spare_text;
  out.clear();
  out.reserve(pieces.text.text.size() + pieces.text.text.size() / 2 + 16);
  for (Piece& piece : pieces.pieces) {
    if (piece.added != Piece::kNone) continue;
    const auto begin = static_cast<uint32_t>(out.text.size());
    const std::string_view view = pieces.view(piece);
    const bool starts = view[0] == ' ' || view.starts_with(replacement);
    if (!starts && (prepend == Prepend::always || (prepend == Prepend::first && piece.start == 0))) {
      out.append(replacement, pieces.text.source[piece.begin]);
    }
    for (size_t i = 0; i < view.size();) {
      const size_t space = std::min(view.find(' ', i), view.size());
      out.append(pieces.text, piece.begin + i, piece.begin + space);
      if (space < view.size()) out.append(replacement, pieces.text.source[piece.begin + space]);
      i = space + 1;
    }
    piece.begin = begin;
    piece.end = static_cast<uint32_t>(out.text.size());
  }
  std::swap(pieces.text, pieces.spare_text);
  if (!splits) return;
  split_pieces(pieces, [&](std::string_view text, const auto& emit) {
    Splitter splitter(SplitBehavior::merged_with_next, emit);
    size_t done = 0;
    for (size_t at = text.find(replacement); at != text.npos; at = text.find(replacement, done)) {
      if (done < at) splitter.add(done, at, false);
      done = at + replacement.size();
      splitter.add(at, done, true);
    }
    if (done < text.size()) splitter.add(done, text.size(), false);
    splitter.finish();
  });
}

}  // namespace bertie::text
