// Code points: UTF-8, character classes and normalisation mappings, as Hugging Face tokenizers sees them.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bertie::text {

inline constexpr uint32_t kCodePointLimit = 0x110000;

// --- UTF-8 ---

inline constexpr size_t kInvalidNone = static_cast<size_t>(-1);
// Byte offset of the first invalid sequence (surrogates and overlong forms included), or kInvalidNone.
size_t find_invalid_utf8(std::string_view text);
size_t ascii_prefix(std::string_view text);  // bytes before the first non-ASCII one

// Bytes of the character that starts with `lead`, in valid UTF-8.
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

// The character at `p` and its length, in valid UTF-8.
struct Decoded {
  uint32_t code_point;
  uint32_t length;
};
inline Decoded decode_utf8(const char* p) {
  const auto* b = reinterpret_cast<const unsigned char*>(p);
  if (b[0] < 0x80) return {b[0], 1};
  if (b[0] < 0xe0) return {(b[0] & 0x1fu) << 6 | (b[1] & 0x3fu), 2};
  if (b[0] < 0xf0) return {(b[0] & 0x0fu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu), 3};
  return {(b[0] & 0x07u) << 18 | (b[1] & 0x3fu) << 12 | (b[2] & 0x3fu) << 6 | (b[3] & 0x3fu), 4};
}
// The character that ends before `end`; `begin` < `end`.
inline Decoded decode_utf8_before(const char* begin, const char* end) {
  const char* p = end - 1;
  while (p > begin && (static_cast<unsigned char>(*p) & 0xc0) == 0x80) --p;
  return decode_utf8(p);
}

// Writes up to four bytes; returns how many.
inline uint32_t encode_utf8(uint32_t c, char* out) {
  if (c < 0x80) {
    out[0] = static_cast<char>(c);
    return 1;
  }
  if (c < 0x800) {
    out[0] = static_cast<char>(0xc0 | c >> 6);
    out[1] = static_cast<char>(0x80 | (c & 0x3f));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = static_cast<char>(0xe0 | c >> 12);
    out[1] = static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out[2] = static_cast<char>(0x80 | (c & 0x3f));
    return 3;
  }
  out[0] = static_cast<char>(0xf0 | c >> 18);
  out[1] = static_cast<char>(0x80 | (c >> 12 & 0x3f));
  out[2] = static_cast<char>(0x80 | (c >> 6 & 0x3f));
  out[3] = static_cast<char>(0x80 | (c & 0x3f));
  return 4;
}
std::string utf8_of(uint32_t code_point);
size_t count_code_points(std::string_view text);  // of valid UTF-8

// --- Classes ---

using ClassBits = uint16_t;
inline constexpr ClassBits kSpace = 1 << 0;        // White_Space: Rust's char::is_whitespace, \s
inline constexpr ClassBits kPunctuation = 1 << 1;  // ASCII punctuation (symbols included) or category P
inline constexpr ClassBits kControl = 1 << 2;      // categories Cc, Cf, Co, tab and line ends excepted
inline constexpr ClassBits kNonspacing = 1 << 3;   // category Mn
inline constexpr ClassBits kMark = 1 << 4;         // category M
inline constexpr ClassBits kNumeric = 1 << 5;      // Rust's char::is_numeric
inline constexpr ClassBits kLetter = 1 << 6;       // \p{L}
inline constexpr ClassBits kRegexNumber = 1 << 7;  // \p{N}
inline constexpr ClassBits kWord = 1 << 8;         // the regex crate's \w
inline constexpr ClassBits kChinese = 1 << 9;      // BertNormalizer's Chinese characters
// Left alone by a normalisation form whatever stands around it (but for marks that follow, in the composing forms).
inline constexpr ClassBits kStableNfd = 1 << 10;
inline constexpr ClassBits kStableNfc = 1 << 11;
inline constexpr ClassBits kStableNfkd = 1 << 12;
inline constexpr ClassBits kStableNfkc = 1 << 13;

// Pages of 256 code points, each made when first asked for; safe for any number of threads.
template <typename Entry>
class CodePointPages {
 public:
  using Page = std::array<Entry, 256>;

  CodePointPages() = default;
  CodePointPages(const CodePointPages&) = delete;
  CodePointPages& operator=(const CodePointPages&) = delete;
  ~CodePointPages() {
    for (auto& page : pages_) delete page.load(std::memory_order_relaxed);
  }

  // `make(code_point)` gives the entry of a code point; `code_point` < kCodePointLimit.
  template <typename Make>
  const Entry& get(uint32_t code_point, const Make& make) {
    const Page* page = pages_[code_point >> 8].load(std::memory_order_acquire);
    if (page == nullptr) [[unlikely]]
      page = fill(code_point >> 8, make);
    return (*page)[code_point & 0xff];
  }

 private:
  template <typename Make>
  const Page* fill(uint32_t index, const Make& make) {
    auto* page = new Page;
    for (uint32_t i = 0; i < 256; ++i) (*page)[i] = make(index << 8 | i);
    const Page* expected = nullptr;
    if (pages_[index].compare_exchange_strong(expected, page, std::memory_order_acq_rel)) return page;
    delete page;
    return expected;
  }

  std::array<std::atomic<const Page*>, kCodePointLimit / 256> pages_{};
};

namespace detail {
extern CodePointPages<ClassBits> class_pages, stability_pages;
ClassBits make_class(uint32_t code_point);
ClassBits make_stability(uint32_t code_point);
}  // namespace detail

// All but the kStable bits, which are the other's.
inline ClassBits class_of(uint32_t code_point) { return detail::class_pages.get(code_point, detail::make_class); }
inline ClassBits stability_of(uint32_t code_point) { return detail::stability_pages.get(code_point, detail::make_stability); }
inline bool has_class(uint32_t code_point, ClassBits bits) { return (class_of(code_point) & bits) != 0; }

// --- Mappings ---

// Up to `kMaxMapping` code points that one maps to.
inline constexpr size_t kMaxMapping = 20;
struct Mapping {
  std::array<uint32_t, kMaxMapping> code_points;
  size_t size = 0;
  const uint32_t* begin() const { return code_points.data(); }
  const uint32_t* end() const { return code_points.data() + size; }
};
Mapping to_lowercase(uint32_t code_point);  // Rust's char::to_lowercase
Mapping decompose(uint32_t code_point, bool compatibility);
uint8_t combining_class(uint32_t code_point);
// The primary composite of two code points; 0 where there is none.
uint32_t compose(uint32_t first, uint32_t second);

}  // namespace bertie::text
