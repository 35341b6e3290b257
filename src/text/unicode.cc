#include "text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>

#include "text/unicode_exceptions.h"

namespace bertie::text {

namespace {

using exceptions::Range;

template <size_t N>
bool in(const Range (&ranges)[N], uint32_t c) {
  const Range* after = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                        [](uint32_t value, const Range& range) { return value < range.first; });
  return after != std::begin(ranges) && c <= std::prev(after)->last;
}

bool is_white_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_chinese(uint32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
         (c >= 0x2a700 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) ||
         (c >= 0x2f800 && c <= 0x2fa1f);
}

bool is_ascii_punctuation(uint32_t c) {
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
}

constexpr uint32_t kSyllables = 0xac00, kSyllableCount = 11172, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11a7;
constexpr uint32_t kLeadCount = 19, kVowelCount = 21, kTailCount = 28;

bool is_syllable(uint32_t c) { return c - kSyllables < kSyllableCount; }
bool is_vowel_or_tail(uint32_t c) { return c - kVowels < kVowelCount || (c > kTails && c < kTails + kTailCount); }

// Whether the normalisation form leaves `c` alone, and `c` neither moves nor joins a character before it.
bool is_stable(uint32_t c, bool compatibility, bool composing) {
  if (combining_class(c) != 0) return false;
  const Mapping parts = decompose(c, compatibility);
  if (!composing) return parts.size == 1 && parts.code_points[0] == c;
  if (is_vowel_or_tail(c) || has_class(c, kMark)) return false;
  if (is_syllable(c)) return true;
  uint32_t composed = parts.code_points[0];
  if (combining_class(composed) != 0) return false;
  for (size_t i = 1; i < parts.size && composed != 0; ++i) composed = compose(composed, parts.code_points[i]);
  return composed == c;
}

}  // namespace

namespace detail {

constinit CodePointPages<ClassBits> class_pages, stability_pages;

ClassBits make_class(uint32_t c) {
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  const auto between = [&](int first, int last) { return category >= first && category <= last; };
  const bool letter = between(UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LO);
  const bool mark = between(UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME);
  const bool number = between(UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO);

  ClassBits bits = 0;
  const auto set = [&](ClassBits bit, bool value) { bits |= value ? bit : 0; };
  set(kSpace, is_white_space(c));
  set(kPunctuation, is_ascii_punctuation(c) || in(exceptions::kPunctuationOnly, c) ||
                        (between(UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO) && !in(exceptions::kPunctuationAbsent, c)));
  set(kControl, c != '\t' && c != '\n' && c != '\r' && !in(exceptions::kControlAbsent, c) &&
                    (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO));
  set(kNonspacing,
      in(exceptions::kNonspacingOnly, c) || (category == UTF8PROC_CATEGORY_MN && !in(exceptions::kNonspacingAbsent, c)));
  set(kMark, in(exceptions::kMarkOnly, c) || (mark && !in(exceptions::kMarkAbsent, c)));
  set(kNumeric, number || in(exceptions::kNumericOnly, c));
  set(kLetter, letter || in(exceptions::kLetterOnly, c));
  set(kRegexNumber, number || in(exceptions::kRegexNumberOnly, c));
  set(kWord, letter || mark || category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
                 category == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d || in(exceptions::kWordOnly, c));
  set(kChinese, is_chinese(c));
  return bits;
}

ClassBits make_stability(uint32_t c) {
  return static_cast<ClassBits>((is_stable(c, false, false) ? kStableNfd : 0) | (is_stable(c, false, true) ? kStableNfc : 0) |
                                (is_stable(c, true, false) ? kStableNfkd : 0) | (is_stable(c, true, true) ? kStableNfkc : 0));
}

}  // namespace detail

size_t ascii_prefix(std::string_view text) {
  size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080ull) != 0) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

size_t find_invalid_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  const size_t size = text.size();
  const auto continues = [&](size_t i) { return i < size && (bytes[i] & 0xc0) == 0x80; };
  size_t i = 0;
  while (i < size) {
    const unsigned char lead = bytes[i];
    if (lead < 0x80) {
      i += ascii_prefix(text.substr(i));
      continue;
    }
    size_t length = 0;
    if (lead >= 0xc2 && lead <= 0xdf) {
      length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      length = 3;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      length = 4;
    } else {
      return i;
    }
    for (size_t k = 1; k < length; ++k) {
      if (!continues(i + k)) return i;
    }
    const unsigned char second = bytes[i + 1];
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second > 0x8f)) {
      return i;
    }
    i += length;
  }
  return kInvalidNone;
}

std::string utf8_of(uint32_t code_point) {
  char bytes[4];
  return {bytes, encode_utf8(code_point, bytes)};
}

size_t count_code_points(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

Mapping to_lowercase(uint32_t code_point) {
  Mapping result;
  result.size = 1;
  result.code_points[0] = static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code_point)));
  if (code_point == 0x130) {  // the one lower-case mapping of two characters
    result.code_points[0] = 'i';
    result.code_points[1] = 0x307;
    result.size = 2;
  }
  for (const auto& range : exceptions::kLowercaseOnly) {
    if (code_point >= range.first && code_point <= range.last) {
      result.code_points[0] = static_cast<uint32_t>(static_cast<int32_t>(code_point) + range.to_lower);
    }
  }
  return result;
}

Mapping decompose(uint32_t code_point, bool compatibility) {
  Mapping result;
  result.size = 1;
  result.code_points[0] = code_point;
  if (code_point < 0x80 || in(exceptions::kNotDecomposed, code_point)) return result;
  utf8proc_int32_t parts[kMaxMapping];
  int boundary = 0;
  int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
  if (compatibility) options |= UTF8PROC_COMPAT;
  const utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code_point), parts, kMaxMapping,
                                                         static_cast<utf8proc_option_t>(options), &boundary);
  if (count < 1 || count > static_cast<utf8proc_ssize_t>(kMaxMapping)) return result;
  result.size = static_cast<size_t>(count);
  std::copy_n(parts, count, result.code_points.begin());
  return result;
}

uint8_t combining_class(uint32_t code_point) {
  if (code_point < 0x300 || in(exceptions::kMarkAbsent, code_point)) return 0;
  return static_cast<uint8_t>(utf8proc_get_property(static_cast<utf8proc_int32_t>(code_point))->combining_class);
}

uint32_t compose(uint32_t first, uint32_t second) {
  if (first - kLeads < kLeadCount && second - kVowels < kVowelCount) {
    return kSyllables + ((first - kLeads) * kVowelCount + (second - kVowels)) * kTailCount;
  }
  if (is_syllable(first)) {
    const bool joins = (first - kSyllables) % kTailCount == 0 && second > kTails && second < kTails + kTailCount;
    return joins ? first + (second - kTails) : 0;
  }
  if (second < 0x300) return 0;
  utf8proc_int32_t pair[2] = {static_cast<utf8proc_int32_t>(first), static_cast<utf8proc_int32_t>(second)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  if (utf8proc_normalize_utf32(pair, 2, options) != 1) return 0;
  const auto composite = static_cast<uint32_t>(pair[0]);
  return in(exceptions::kNotDecomposed, composite) ? 0 : composite;
}

}  // namespace bertie::text
