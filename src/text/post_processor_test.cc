#include "text/post_processor.h"

#include <gtest/gtest.h>

namespace bertie::text {

bool operator==(const TokenRange& a, const TokenRange& b) { return a.begin == b.begin && a.end == b.end; }

namespace {

constexpr Truncation kLongest{.stride = 1};

TEST(Truncate, WindowsOverlapByTheStride) {
  EXPECT_EQ(truncate({0, 0}, false, 4, kLongest)[0], (Windows{{0, 0}}));
  EXPECT_EQ(truncate({4, 0}, false, 4, kLongest)[0], (Windows{{0, 4}}));
  EXPECT_EQ(truncate({5, 0}, false, 4, kLongest)[0], (Windows{{0, 4}, {3, 5}}));
  EXPECT_EQ(truncate({7, 0}, false, 4, kLongest)[0], (Windows{{0, 4}, {3, 7}}));
  EXPECT_EQ(truncate({8, 0}, false, 4, kLongest)[0], (Windows{{0, 4}, {3, 7}, {6, 8}}));
}

TEST(Truncate, LongestFirstSharesWhatThereIs) {
  const auto both = truncate({10, 10}, true, 9, kLongest);
  EXPECT_EQ(both[0][0], (TokenRange{0, 4}));
  EXPECT_EQ(both[1][0], (TokenRange{0, 5}));
  const auto first = truncate({10, 3}, true, 9, kLongest);
  EXPECT_EQ(first[0], (Windows{{0, 6}, {5, 10}}));
  EXPECT_EQ(first[1], (Windows{{0, 3}}));
}

TEST(Truncate, OneTextAlone) {
  const Truncation second{.stride = 0, .strategy = TruncationStrategy::only_second};
  EXPECT_EQ(truncate({3, 4}, true, 5, second)[1], (Windows{{0, 2}, {2, 4}}));
  EXPECT_THROW(truncate({6, 4}, true, 5, second), Error);   // no room for the second
  EXPECT_THROW(truncate({6, 0}, false, 5, second), Error);  // no second
  EXPECT_THROW(truncate({6, 6}, true, 7, {.stride = 1, .strategy = TruncationStrategy::only_second}), Error);  // stride too large
}

TextTokens make_tokens(int32_t first, size_t count) {
  TextTokens text;
  for (size_t i = 0; i < count; ++i) {
    text.tokens.push_back({first + static_cast<int32_t>(i), static_cast<uint32_t>(i), static_cast<uint32_t>(i + 1), 0});
  }
  return text;
}

TEST(PostProcessor, TemplateMayPutTheSecondTextFirst) {
  const PostProcessor processor(nlohmann::json::parse(R"({"type": "TemplateProcessing",
      "single": [{"Sequence": {"id": "A", "type_id": 3}}],
      "pair": [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "|", "type_id": 2}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"|": {"id": "|", "ids": [90, 91], "tokens": ["|", "|"]}}})"),
                                "tokenizer.json");
  EXPECT_EQ(processor.added_tokens(false), 0u);
  EXPECT_EQ(processor.added_tokens(true), 2u);
  const std::vector<TextTokens> texts{make_tokens(10, 2), make_tokens(20, 1)};
  const Encoding pair = processor.process(texts, true);
  EXPECT_EQ(pair.ids, (std::vector<int32_t>{20, 90, 91, 10, 11}));
  EXPECT_EQ(pair.type_ids, (std::vector<int32_t>{1, 2, 2, 0, 0}));
  EXPECT_EQ(pair.sequence_ids, (std::vector<int32_t>{1, -1, -1, 0, 0}));
  EXPECT_EQ(pair.special_tokens_mask, (std::vector<uint8_t>{0, 1, 1, 0, 0}));
  EXPECT_EQ(processor.process(std::span(texts).first(1), true).type_ids, (std::vector<int32_t>{3, 3}));
  EXPECT_EQ(processor.process(texts, false).ids, (std::vector<int32_t>{20, 10, 11}));
}

TEST(PostProcessor, WindowsOfBothTextsAreCombined) {
  const std::vector<TextTokens> texts{make_tokens(10, 3), make_tokens(20, 2)};
  const auto encodings = PostProcessor().process_windows(texts, {Windows{{0, 2}, {2, 3}}, Windows{{0, 1}, {1, 2}}}, true);
  std::vector<std::vector<int32_t>> ids;
  for (const Encoding& encoding : encodings) ids.push_back(encoding.ids);
  EXPECT_EQ(ids, (std::vector<std::vector<int32_t>>{{10, 11, 20}, {12, 20}, {12, 21}, {10, 11, 21}}));
}

TEST(PostProcessor, RefusesWhatItCannotDo) {
  const auto make = [](const char* json) { PostProcessor(nlohmann::json::parse(json), "tokenizer.json"); };
  EXPECT_THROW(make(R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": []})"),
               Error);
  EXPECT_THROW(make(R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B", "type_id": 0}}], "pair": []})"), Error);
  EXPECT_THROW(make(R"({"type": "BertProcessing", "sep": ["a", -1], "cls": ["b", 1]})"), Error);
  EXPECT_THROW(make(R"({"type": "Sideways"})"), Error);
}

}  // namespace
}  // namespace bertie::text
