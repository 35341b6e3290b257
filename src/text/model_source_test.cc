#include "text/model_source.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"

namespace bertie::text {
namespace {

TEST(ModelSource, TakesTheModelOut) {
  const TokenizerSource source = parse_tokenizer_json(
      R"({"version": "1.0", "vocab": {"not": "this"}, "model": {"type": "BPE", "unk_token": null, "x": {"vocab": [1], "merges": 2},
          "vocab": {"a": 0, "b": 5, "a b": 2}, "merges": ["#version: 0.2", "a b"]}, "list": [{"model": 1}, []]})",
      "f");
  EXPECT_EQ(source.document.dump(), R"({"list":[{"model":1},[]],"version":"1.0","vocab":{"not":"this"}})");
  EXPECT_TRUE(source.has_model);
  EXPECT_EQ(source.model.fields.dump(), R"({"type":"BPE","unk_token":null,"x":{"merges":2,"vocab":[1]}})");
  EXPECT_EQ(source.model.vocabulary, ModelSource::Vocabulary::ids);
  ASSERT_EQ(source.model.pieces.size(), 3u);
  EXPECT_EQ(source.model.pieces[2], "a b");
  EXPECT_EQ(source.model.ids, (std::vector<int32_t>{0, 5, 2}));
  EXPECT_TRUE(source.model.has_merges);
  ASSERT_EQ(source.model.merges.size(), 2u);
  EXPECT_EQ(source.model.merges[1], "b");
}

TEST(ModelSource, OfRepeatedFieldsTheLastCounts) {
  const ModelSource source =
      parse_model_json(R"({"vocab": {"a": 0}, "vocab": [["b", -1], ["", 2.5]], "merges": ["a b"], "merges": []})", "f");
  EXPECT_EQ(source.vocabulary, ModelSource::Vocabulary::scores);
  ASSERT_EQ(source.pieces.size(), 2u);
  EXPECT_EQ(source.pieces[0], "b");
  EXPECT_EQ(source.pieces[1], "");
  EXPECT_EQ(source.scores, (std::vector<double>{-1, 2.5}));
  EXPECT_TRUE(source.has_merges);
  EXPECT_EQ(source.merges.size(), 0u);
}

TEST(ModelSource, WithoutAModel) {
  EXPECT_FALSE(parse_tokenizer_json(R"({"version": "1.0"})", "f").has_model);
  EXPECT_FALSE(parse_tokenizer_json(R"({"model": null})", "f").has_model);
  EXPECT_FALSE(parse_tokenizer_json(R"([{"model": {}}])", "f").has_model);
  EXPECT_FALSE(parse_tokenizer_json("3", "f").has_model);
  EXPECT_THROW(parse_tokenizer_json("", "f"), Error);
}

TEST(ParseScore, ShortNumbersAreTheNearestDouble) {
  for (const char* text : {"0.0", "-0.0", "1", "-1", "0.1", "-3.5", "123456.789", "1e3", "1E-3", "2.5e+10", "-13.529830932617188",
                           "0.30000000000000004", "5e-324", "1e-400"}) {
    EXPECT_EQ(parse_score(text), std::strtod(text, nullptr)) << text;
  }
  EXPECT_TRUE(std::signbit(parse_score("-0.0")));
  EXPECT_EQ(parse_score("0,5"), 0.5);  // as a lexer under another locale hands it over
}

// What serde_json 1.0 without `float_roundtrip` gives for numbers of more digits than a double has: one step off the nearest.
TEST(ParseScore, LongNumbersRoundAsInSerde) {
  EXPECT_EQ(parse_score("-8.9071483612060547"), -89071483612060547.0 / 1e16);
  EXPECT_EQ(parse_score("0.123456789012345678901234567890"), 12345678901234567890.0 / 1e20);  // digits beyond 64 bits are dropped
  EXPECT_EQ(parse_score("123456789012345678901234567890"), 12345678901234567890.0 * 1e10);
}

}  // namespace
}  // namespace bertie::text
