#include "text/unicode.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace bertie::text {
namespace {

TEST(Unicode, FindsTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8(""), kInvalidNone);
  EXPECT_EQ(find_invalid_utf8("plain text of more than eight bytes, \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80"), kInvalidNone);
  EXPECT_EQ(find_invalid_utf8("ab\x80"), 2u);
  EXPECT_EQ(find_invalid_utf8("0123456789\xc3"), 10u);    // cut off
  EXPECT_EQ(find_invalid_utf8("a\xc0\xaf"), 1u);          // overlong
  EXPECT_EQ(find_invalid_utf8("a\xe0\x80\xaf"), 1u);      // overlong
  EXPECT_EQ(find_invalid_utf8("a\xed\xa0\x80"), 1u);      // surrogate
  EXPECT_EQ(find_invalid_utf8("a\xf4\x90\x80\x80"), 1u);  // beyond U+10FFFF
  EXPECT_EQ(find_invalid_utf8("\xc3\xa9\xf0\x9f\x98"), 2u);
  EXPECT_EQ(find_invalid_utf8("\xf4\x8f\xbf\xbf"), kInvalidNone);
}

TEST(Unicode, EncodingAndDecodingAgreeOnEveryCodePoint) {
  for (uint32_t c = 0; c < kCodePointLimit; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    const std::string bytes = utf8_of(c);
    ASSERT_EQ(find_invalid_utf8(bytes), kInvalidNone) << c;
    ASSERT_EQ(utf8_length(bytes[0]), bytes.size()) << c;
    ASSERT_EQ(decode_utf8(bytes.data()).code_point, c);
    ASSERT_EQ(decode_utf8_before(bytes.data(), bytes.data() + bytes.size()).code_point, c);
  }
}

TEST(Unicode, LowerCaseOfOneCharacterMayBeTwo) {
  EXPECT_EQ(to_lowercase('A').code_points[0], 'a');
  EXPECT_EQ(to_lowercase(0x130).size, 2u);
  EXPECT_EQ(to_lowercase(0x130).code_points[1], 0x307u);
  EXPECT_EQ(to_lowercase(0x3a3).code_points[0], 0x3c3u);
  EXPECT_EQ(to_lowercase(0x1f600).code_points[0], 0x1f600u);
}

TEST(Unicode, ComposesAndDecomposes) {
  EXPECT_EQ(compose('e', 0x301), 0xe9u);
  EXPECT_EQ(compose(0x1100, 0x1161), 0xac00u);
  EXPECT_EQ(compose(0xac00, 0x11a8), 0xac01u);
  EXPECT_EQ(compose(0xac01, 0x11a8), 0u);
  EXPECT_EQ(compose('e', 'e'), 0u);
  EXPECT_EQ(compose(0x915, 0x93c), 0u);  // U+0958 is excluded from composition
  const Mapping syllable = decompose(0xac01, false);
  ASSERT_EQ(syllable.size, 3u);
  EXPECT_EQ(syllable.code_points[2], 0x11a8u);
  EXPECT_EQ(decompose(0xfb01, false).size, 1u);
  EXPECT_EQ(decompose(0xfb01, true).size, 2u);
  EXPECT_EQ(decompose(0xfdfa, true).size, 18u);  // the longest of all
}

TEST(Unicode, ClassesAreHuggingFaces) {
  EXPECT_TRUE(has_class('$', kPunctuation));  // an ASCII symbol
  EXPECT_FALSE(has_class(0x20ac, kPunctuation));
  EXPECT_TRUE(has_class(0x2028, kSpace));
  EXPECT_FALSE(has_class(0x200b, kSpace));
  EXPECT_TRUE(has_class(0x200b, kControl));
  EXPECT_FALSE(has_class('\n', kControl));
  EXPECT_TRUE(has_class(0xbd, kNumeric));
  EXPECT_TRUE(has_class('_', kWord));
  EXPECT_TRUE(has_class(0x4e2d, kChinese));
  EXPECT_FALSE(has_class(0x2b820, kChinese));     // Hugging Face leaves out U+2B820 to U+2B91F
  EXPECT_FALSE(has_class(0x2e43, kPunctuation));  // younger than its tables
}

TEST(Unicode, PagesMayBeAskedForByManyThreads) {
  CodePointPages<uint32_t> pages;
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (uint32_t c = 0; c < kCodePointLimit; c += 37) {
        if (pages.get(c, [](uint32_t code_point) { return code_point * 3; }) != c * 3) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace bertie::text
