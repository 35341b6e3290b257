// Cutting pieces at delimiters, and what becomes of the delimiters.
#pragma once

#include <cstddef>

#include "text/pre_tokenizer.h"

namespace bertie::text {

enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// The required field "behavior", or `fallback` where absent.
SplitBehavior parse_split_behavior(const JsonFields& fields, const SplitBehavior* fallback = nullptr);

// Is told the slices of a text in order, delimiters and what lies between, and emits pieces: emit(begin, end), never empty.
template <typename Emit>
class Splitter {
 public:
  Splitter(SplitBehavior behavior, Emit& emit) : behavior_(behavior), emit_(emit) {}

  void add(size_t begin, size_t end, bool delimiter) {
    switch (behavior_) {
      case SplitBehavior::removed:
        if (!delimiter) put(begin, end);
        break;
      case SplitBehavior::isolated: put(begin, end); break;
      case SplitBehavior::merged_with_previous:
        if (delimiter && held_ && !held_delimiter_) {
          put(held_begin_, end);
          held_ = false;
        } else {
          hold(begin, end, delimiter);
        }
        break;
      case SplitBehavior::merged_with_next:
        if (!delimiter && held_ && held_delimiter_) {
          put(held_begin_, end);
          held_ = false;
        } else {
          hold(begin, end, delimiter);
        }
        break;
      case SplitBehavior::contiguous:
        if (held_ && held_delimiter_ == delimiter) {
          held_end_ = end;
        } else {
          hold(begin, end, delimiter);
        }
        break;
    }
  }
  void finish() {
    if (held_) put(held_begin_, held_end_);
    held_ = false;
  }

 private:
  void put(size_t begin, size_t end) {
    if (begin < end) emit_(begin, end);
  }
  void hold(size_t begin, size_t end, bool delimiter) {
    finish();
    held_ = true;
    held_begin_ = begin;
    held_end_ = end;
    held_delimiter_ = delimiter;
  }

  SplitBehavior behavior_;
  Emit& emit_;
  bool held_ = false, held_delimiter_ = false;
  size_t held_begin_ = 0, held_end_ = 0;
};

// Calls split(view, emit) for each piece that is no added token; emit(begin, end), in bytes of the view, adds a piece.
template <typename Split>
void split_pieces(Pieces& pieces, const Split& split) {
  pieces.spare_pieces.clear();
  for (const Piece& piece : pieces.pieces) {
    if (piece.added != Piece::kNone) {
      pieces.spare_pieces.push_back(piece);
      continue;
    }
    const auto emit = [&](size_t begin, size_t end) {
      const auto from = static_cast<uint32_t>(piece.begin + begin);
      pieces.spare_pieces.push_back(
          {from, static_cast<uint32_t>(piece.begin + end), pieces.text.source[from] & ~kEmptySource, Piece::kNone});
    };
    split(pieces.view(piece), emit);
  }
  std::swap(pieces.pieces, pieces.spare_pieces);
}

// Splits at the characters that are delimiters.
template <typename IsDelimiter>
void split_at_characters(Pieces& pieces, SplitBehavior behavior, const IsDelimiter& is_delimiter) {
  split_pieces(pieces, [&](std::string_view text, const auto& emit) {
    Splitter splitter(behavior, emit);
    size_t done = 0;
    for (size_t i = 0; i < text.size();) {
      const Decoded c = decode_utf8(text.data() + i);
      if (is_delimiter(c.code_point)) {
        if (done < i) splitter.add(done, i, false);
        splitter.add(i, i + c.length, true);
        done = i + c.length;
      }
      i += c.length;
    }
    if (done < text.size()) splitter.add(done, text.size(), false);
    splitter.finish();
  });
}

}  // namespace bertie::text
