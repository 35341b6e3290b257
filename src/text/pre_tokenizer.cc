#include "text/pre_tokenizer.h"

#include <utility>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/metaspace.h"
#include "text/normalizer.h"
#include "text/pattern.h"
#include "text/split.h"

namespace bertie::text {

SplitBehavior parse_split_behavior(const JsonFields& fields, const SplitBehavior* fallback) {
  if (fallback != nullptr && !fields.has("behavior")) return *fallback;
  const std::string name = fields.text("behavior");
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  fields.refuse("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

namespace {

// A pre-tokenizer made of one function.
template <typename Apply>
class Simple final : public PreTokenizer {
 public:
  explicit Simple(Apply apply) : apply_(std::move(apply)) {}
  void apply(Pieces& pieces) const override { apply_(pieces); }

 private:
  Apply apply_;
};

template <typename Apply>
std::unique_ptr<PreTokenizer> simple(Apply apply) {
  return std::make_unique<Simple<Apply>>(std::move(apply));
}

void split_bert(Pieces& pieces) {
  split_pieces(pieces, [](std::string_view text, const auto& emit) {
    size_t done = 0;
    for (size_t i = 0; i < text.size();) {
      const Decoded c = decode_utf8(text.data() + i);
      const ClassBits bits = class_of(c.code_point);
      if ((bits & (kSpace | kPunctuation)) != 0) {
        if (done < i) emit(done, i);
        done = i + c.length;
        if ((bits & kSpace) == 0) emit(i, done);
      }
      i += c.length;
    }
    if (done < text.size()) emit(done, text.size());
  });
}

// \w+|[^\w\s]+
void split_words(Pieces& pieces) {
  split_pieces(pieces, [](std::string_view text, const auto& emit) {
    constexpr ClassBits kBits = kWord | kSpace;
    size_t done = 0;
    ClassBits run = kSpace;
    for (size_t i = 0; i < text.size();) {
      const Decoded c = decode_utf8(text.data() + i);
      const auto bits = static_cast<ClassBits>(class_of(c.code_point) & kBits);
      if (bits != run) {
        if (run != kSpace && done < i) emit(done, i);
        done = i;
        run = bits;
      }
      i += c.length;
    }
    if (run != kSpace && done < text.size()) emit(done, text.size());
  });
}

void split_pattern(const Pattern& pattern, SplitBehavior behavior, bool invert, Pieces& pieces) {
  split_pieces(pieces, [&](std::string_view text, const auto& emit) {
    Splitter splitter(behavior, emit);
    size_t done = 0;
    pattern.for_each_match(text, [&](size_t begin, size_t end) {
      if (done != begin) splitter.add(done, begin, invert);
      splitter.add(begin, end, !invert);
      done = end;
    });
    if (done != text.size()) splitter.add(done, text.size(), invert);
    splitter.finish();
  });
}

void split_fixed_length(size_t length, Pieces& pieces) {
  split_pieces(pieces, [=](std::string_view text, const auto& emit) {
    size_t begin = 0;
    while (begin < text.size()) {
      size_t end = begin;
      for (size_t n = 0; n < length && end < text.size(); ++n) end += utf8_length(text[end]);
      emit(begin, end);
      begin = end;
    }
  });
}

void split_byte_level(bool add_prefix_space, bool use_regex, Pieces& pieces) {
  AlignedText& out = pieces.spare_text;
  out.clear();
  out.reserve(pieces.text.text.size() + pieces.text.text.size() / 4 + 16);
  pieces.spare_pieces.clear();
  thread_local AlignedText prefixed;
  for (const Piece& piece : pieces.pieces) {
    if (piece.added != Piece::kNone) {
      pieces.spare_pieces.push_back(piece);
      continue;
    }
    const AlignedText* from = &pieces.text;
    size_t begin = piece.begin, end = piece.end;
    if (add_prefix_space && from->text[begin] != ' ') {
      prefixed.clear();
      prefixed.append(" ", from->source[begin]);
      prefixed.append(*from, begin, end);
      from = &prefixed;
      begin = 0;
      end = prefixed.text.size();
    }
    const std::string_view view = std::string_view(from->text).substr(0, end);
    while (begin < end) {
      const size_t word = use_regex ? gpt2_word_end(view, begin) : end;
      const auto first = static_cast<uint32_t>(out.text.size());
      append_byte_level(*from, begin, word, out);
      const uint32_t start = use_regex ? from->source[begin] & ~kEmptySource : piece.start;
      pieces.spare_pieces.push_back({first, static_cast<uint32_t>(out.text.size()), start, Piece::kNone});
      begin = word;
    }
  }
  std::swap(pieces.text, pieces.spare_text);
  std::swap(pieces.pieces, pieces.spare_pieces);
}

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}
  void apply(Pieces& pieces) const override {
    for (const auto& step : steps_) step->apply(pieces);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

std::unique_ptr<PreTokenizer> make(const nlohmann::json& json, const std::string& file, int nesting);

std::unique_ptr<PreTokenizer> make_sequence(const JsonFields& fields, int nesting) {
  const nlohmann::json* list = fields.find("pretokenizers");
  if (list == nullptr || !list->is_array()) fields.refuse("pretokenizers", "a list");
  if (nesting >= kMaxNesting) fields.refuse("pretokenizers", fmt::format("nested at most {} deep", kMaxNesting));
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  for (const auto& item : *list) steps.push_back(make(item, fields.file(), nesting + 1));
  if (steps.size() == 1) return std::move(steps.front());
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

std::unique_ptr<PreTokenizer> make(const nlohmann::json& json, const std::string& file, int nesting) {
  const JsonFields fields(json, file, "pre_tokenizer.");
  const std::string type = fields.text("type");
  constexpr SplitBehavior kIsolated = SplitBehavior::isolated;
  if (type == "BertPreTokenizer") return simple(split_bert);
  if (type == "Whitespace") return simple(split_words);
  if (type == "WhitespaceSplit") {
    return simple([](Pieces& pieces) {
      split_at_characters(pieces, SplitBehavior::removed, [](uint32_t c) { return has_class(c, kSpace); });
    });
  }
  if (type == "Punctuation") {
    return simple([behavior = parse_split_behavior(fields, &kIsolated)](Pieces& pieces) {
      split_at_characters(pieces, behavior, [](uint32_t c) { return has_class(c, kPunctuation); });
    });
  }
  if (type == "Digits") {
    const bool individual = fields.boolean_or("individual_digits", false);
    return simple([behavior = individual ? SplitBehavior::isolated : SplitBehavior::contiguous](Pieces& pieces) {
      split_at_characters(pieces, behavior, [](uint32_t c) { return has_class(c, kNumeric); });
    });
  }
  if (type == "CharDelimiterSplit" || type == "Delimiter") {
    return simple([delimiter = parse_character(fields, "delimiter")](Pieces& pieces) {
      split_at_characters(pieces, SplitBehavior::removed, [=](uint32_t c) { return c == delimiter; });
    });
  }
  if (type == "Split") {
    return simple(
        [pattern = Pattern::parse(fields), behavior = parse_split_behavior(fields),
         invert = fields.boolean_or("invert", false)](Pieces& pieces) { split_pattern(pattern, behavior, invert, pieces); });
  }
  if (type == "ByteLevel") {
    return simple([prefix = fields.boolean_or("add_prefix_space", true),
                   regex = fields.boolean_or("use_regex", true)](Pieces& pieces) { split_byte_level(prefix, regex, pieces); });
  }
  if (type == "Metaspace") {
    return simple([metaspace = Metaspace::parse(fields)](Pieces& pieces) { metaspace.split(pieces); });
  }
  if (type == "FixedLength") {
    return simple([length = static_cast<size_t>(fields.integer_or("length", 1, JsonFields::kMax, 5))](Pieces& pieces) {
      split_fixed_length(length, pieces);
    });
  }
  if (type == "Sequence") return make_sequence(fields, nesting);
  fail(ErrorCode::unsupported, "{}: pre-tokenizer type '{}' is not supported", file, type);
}

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const nlohmann::json& pre_tokenizer, const std::string& file) {
  return make(pre_tokenizer, file, 0);
}

}  // namespace bertie::text
