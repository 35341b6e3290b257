// Expected pieces and spans are those of Hugging Face tokenizers 0.23.3.
#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include "bertie/base.h"

namespace bertie::text {
namespace {

using Words = std::vector<std::pair<std::string, Span>>;

Words split(const std::string& json, std::string_view text) {
  Pieces pieces;
  pieces.text.assign(text, 0);
  if (!text.empty()) pieces.pieces.push_back({0, static_cast<uint32_t>(text.size()), 0});
  make_pre_tokenizer(nlohmann::json::parse(json), "tokenizer.json")->apply(pieces);
  Words words;
  for (const Piece& piece : pieces.pieces) words.emplace_back(pieces.view(piece), pieces.text.span(piece.begin, piece.end));
  return words;
}

Words split_at(const char* behavior, const char* invert = "false") {
  return split(std::string(R"({"type": "Split", "pattern": {"String": "-"}, "behavior": ")") + behavior + R"(", "invert": )" +
                   invert + "}",
               "the-final--countdown");
}

TEST(PreTokenizer, Words) {
  EXPECT_EQ(split(R"({"type": "BertPreTokenizer"})", "Hey friend, 你!"),
            (Words{{"Hey", {0, 3}}, {"friend", {4, 10}}, {",", {10, 11}}, {"你", {12, 13}}, {"!", {13, 14}}}));
  EXPECT_EQ(split(R"({"type": "Whitespace"})", "a_b  c-- d"),
            (Words{{"a_b", {0, 3}}, {"c", {5, 6}}, {"--", {6, 8}}, {"d", {9, 10}}}));
  EXPECT_EQ(split(R"({"type": "WhitespaceSplit"})", " a, b\u3000"), (Words{{"a,", {1, 3}}, {"b", {4, 5}}}));
  EXPECT_EQ(split(R"({"type": "BertPreTokenizer"})", ""), Words{});
  EXPECT_EQ(split(R"({"type": "BertPreTokenizer"})", " \n"), Words{});
}

TEST(PreTokenizer, Metaspace) {
  const char* always = R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true})";
  EXPECT_EQ(split(always, "Hey my  friend"), (Words{{"▁Hey", {0, 3}}, {"▁my", {3, 6}}, {"▁", {6, 7}}, {"▁friend", {7, 14}}}));
  EXPECT_EQ(split(R"({"type": "Metaspace", "replacement": "▁", "add_prefix_space": false})", "Hey my"),
            (Words{{"Hey", {0, 3}}, {"▁my", {3, 6}}}));
  EXPECT_EQ(split(R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false})", "a b"),
            (Words{{"▁a▁b", {0, 3}}}));
  EXPECT_THROW(split(R"({"type": "Metaspace", "replacement": "ab"})", ""), Error);
  EXPECT_THROW(split(R"({"type": "Metaspace", "replacement": "▁", "add_prefix_space": false, "prepend_scheme": "first"})", ""),
               Error);
}

TEST(PreTokenizer, ByteLevel) {
  EXPECT_EQ(split(R"({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true})", "I'm  here 12é"),
            (Words{{"ĠI", {0, 1}}, {"'m", {1, 3}}, {"Ġ", {3, 4}}, {"Ġhere", {4, 9}}, {"Ġ12", {9, 12}}, {"Ã©", {12, 13}}}));
}

TEST(PreTokenizer, Digits) {
  EXPECT_EQ(split(R"({"type": "Digits", "individual_digits": true})", "ab12 3"),
            (Words{{"ab", {0, 2}}, {"1", {2, 3}}, {"2", {3, 4}}, {" ", {4, 5}}, {"3", {5, 6}}}));
  EXPECT_EQ(split(R"({"type": "Digits", "individual_digits": false})", "ab12 3"),
            (Words{{"ab", {0, 2}}, {"12", {2, 4}}, {" ", {4, 5}}, {"3", {5, 6}}}));
}

TEST(PreTokenizer, SplitBehaviors) {
  EXPECT_EQ(split_at("Removed"), (Words{{"the", {0, 3}}, {"final", {4, 9}}, {"countdown", {11, 20}}}));
  EXPECT_EQ(split_at("Isolated"),
            (Words{{"the", {0, 3}}, {"-", {3, 4}}, {"final", {4, 9}}, {"-", {9, 10}}, {"-", {10, 11}}, {"countdown", {11, 20}}}));
  EXPECT_EQ(split_at("MergedWithPrevious"),
            (Words{{"the-", {0, 4}}, {"final-", {4, 10}}, {"-", {10, 11}}, {"countdown", {11, 20}}}));
  EXPECT_EQ(split_at("MergedWithNext"), (Words{{"the", {0, 3}}, {"-final", {3, 9}}, {"-", {9, 10}}, {"-countdown", {10, 20}}}));
  EXPECT_EQ(split_at("Contiguous"),
            (Words{{"the", {0, 3}}, {"-", {3, 4}}, {"final", {4, 9}}, {"--", {9, 11}}, {"countdown", {11, 20}}}));
  EXPECT_EQ(split_at("Removed", "true"), (Words{{"-", {3, 4}}, {"-", {9, 10}}, {"-", {10, 11}}}));
  EXPECT_THROW(split_at("Sideways"), Error);
}

TEST(PreTokenizer, AnUnknownTypeIsNamed) {
  try {
    split(R"({"type": "UnicodeScripts"})", "a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_STREQ(error.what(), "tokenizer.json: pre-tokenizer type 'UnicodeScripts' is not supported");
  }
}

}  // namespace
}  // namespace bertie::text
