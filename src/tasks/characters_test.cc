#include "tasks/characters.h"

#include <gtest/gtest.h>

namespace bertie::tasks {
namespace {

TEST(Characters, SlicesByCharacterNotByte) {
  const Characters characters("naïve 日本語 😀!", 100);
  EXPECT_EQ(characters.size(), 12u);
  EXPECT_EQ(characters.slice(0, 5), "naïve");
  EXPECT_EQ(characters.slice(6, 9), "日本語");
  EXPECT_EQ(characters.slice(10, 11), "😀");
  EXPECT_EQ(characters.slice(11, 12), "!");
  EXPECT_EQ(characters.slice(11, 99), "!");
  EXPECT_EQ(characters.slice(5, 5), "");
  EXPECT_EQ(characters.slice(99, 99), "");
}

TEST(Characters, IndexesNoMoreThanAsked) {
  const Characters characters("日本語", 2);
  EXPECT_EQ(characters.size(), 2u);
  EXPECT_EQ(characters.slice(0, 2), "日本");
  EXPECT_EQ(characters.slice(1, 3), "本");
  EXPECT_EQ(Characters("", 5).slice(0, 1), "");
  EXPECT_EQ(Characters("abc", 0).slice(0, 1), "");
}

TEST(Characters, CountAndLowerCase) {
  EXPECT_EQ(count_characters("naïve😀"), 6u);
  EXPECT_EQ(lower_case("ÀÉ Straße ΑΣ [MASK]"), "àé straße ασ [mask]");
  EXPECT_EQ(lower_case("\xff[X"), "\xff[x");  // not UTF-8: kept
}

}  // namespace
}  // namespace bertie::tasks
