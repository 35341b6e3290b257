// Words of megabytes: no model may be quadratic in them, or recurse. A quadratic one would take hours here.
#include <gtest/gtest.h>

#include <bit>
#include <nlohmann/json.hpp>
#include <string>

#include "text/model.h"

namespace bertie::text {
namespace {

using nlohmann::json;

constexpr size_t kSize = 10'000'000;

std::vector<ModelToken> tokenize(const json& model, const std::string& word) {
  std::vector<ModelToken> tokens;
  make_model(model, "model")->tokenize(word, tokens);
  return tokens;
}

TEST(LongWords, WordPieceTakesThemForUnknown) {
  const json model = {{"type", "WordPiece"},
                      {"unk_token", "u"},
                      {"continuing_subword_prefix", "##"},
                      {"max_input_chars_per_word", 100},
                      {"vocab", {{"u", 0}, {"a", 1}, {"##a", 2}}}};
  const auto tokens = tokenize(model, std::string(kSize, 'a'));
  ASSERT_EQ(tokens.size(), 1u);
  EXPECT_EQ(tokens[0].id, 0);
  EXPECT_EQ(tokens[0].end, kSize);
}

TEST(LongWords, WordPieceWithoutALimit) {
  const json model = {{"type", "WordPiece"},
                      {"unk_token", "u"},
                      {"continuing_subword_prefix", "##"},
                      {"max_input_chars_per_word", kSize},
                      {"vocab", {{"u", 0}, {"a", 1}, {"##a", 2}, {"##aaaaaaaab", 3}}}};
  EXPECT_EQ(tokenize(model, std::string(kSize, 'a')).size(), kSize);
  const auto tokens = tokenize(model, std::string(kSize - 1, 'a') + "b");  // the end is one piece of nine
  ASSERT_EQ(tokens.size(), kSize - 8);
  EXPECT_EQ(tokens.back().id, 3);
}

// a a -> aa, aa aa -> aaaa, ...: every merge renews the pairs on both sides.
TEST(LongWords, Bpe) {
  json vocabulary = {{"a", 0}};
  json merges = json::array();
  std::string piece = "a";
  for (int i = 1; i <= 10; ++i) {
    merges.push_back({piece, piece});
    piece += piece;
    vocabulary[piece] = i;
  }
  const json model = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}};
  const size_t size = kSize / 4 + 3;
  const auto tokens = tokenize(model, std::string(size, 'a'));
  // Whole pieces of 1024, then the binary digits of what is left.
  ASSERT_EQ(tokens.size(), size / 1024 + static_cast<size_t>(std::popcount(size % 1024)));
  EXPECT_EQ(tokens.front().id, 10);
  EXPECT_EQ(tokens.back().id, 0);
  EXPECT_EQ(tokens.back().end, size);
}

TEST(LongWords, BpeUnknownFused) {
  const json model = {{"type", "BPE"}, {"unk_token", "u"}, {"fuse_unk", true}, {"vocab", {{"u", 4}}}, {"merges", json::array()}};
  const auto tokens = tokenize(model, std::string(kSize, 'a'));
  ASSERT_EQ(tokens.size(), 1u);
  EXPECT_EQ(tokens[0].end, kSize);
}

TEST(LongWords, Unigram) {
  const json model =
      json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab": [["u", 0], ["a", -1], ["aa", -1.5], ["aaaaaaaa", -3]]})");
  const size_t size = kSize / 4 + 6;
  const auto tokens = tokenize(model, std::string(size, 'a'));
  ASSERT_EQ(tokens.size(), size / 8 + size % 8 / 2 + size % 2);
  EXPECT_EQ(tokens.back().end, size);
  const auto unknown = tokenize(model, std::string(size, 'z'));
  ASSERT_EQ(unknown.size(), 1u);
  EXPECT_EQ(unknown[0].end, size);
}

}  // namespace
}  // namespace bertie::text
