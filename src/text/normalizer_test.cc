// Expected texts and spans are those of Hugging Face tokenizers 0.23.3.
#include "text/normalizer.h"

#include <gtest/gtest.h>

#include "bertie/base.h"

namespace bertie::text {
namespace {

struct Normalized {
  std::string text;
  std::vector<Span> spans;  // of each character
  bool operator==(const Normalized&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Normalized& normalized) {
  out << '"' << normalized.text << '"';
  for (const Span& span : normalized.spans) out << " (" << span.first << ", " << span.second << ")";
  return out;
}

Normalized normalize(const char* json, std::string_view text) {
  AlignedText aligned, spare;
  aligned.assign(text, 0);
  make_normalizer(nlohmann::json::parse(json), "tokenizer.json")->apply(aligned, spare);
  Normalized result{aligned.text, {}};
  EXPECT_EQ(aligned.text.size(), aligned.source.size());
  for (size_t i = 0; i < aligned.text.size(); i += utf8_length(aligned.text[i])) {
    result.spans.push_back(aligned.span(i, i + utf8_length(aligned.text[i])));
  }
  return result;
}

TEST(Normalizer, UnicodeForms) {
  EXPECT_EQ(normalize(R"({"type": "NFC"})", "e\u0301x"), (Normalized{"éx", {{0, 1}, {2, 3}}}));
  EXPECT_EQ(normalize(R"({"type": "NFC"})", "\u1100\u1161\u11a8"), (Normalized{"\uac01", {{0, 1}}}));
  EXPECT_EQ(normalize(R"({"type": "NFD"})", "é\u0323"), (Normalized{"e\u0323\u0301", {{0, 1}, {1, 2}, {1, 2}}}));
  EXPECT_EQ(normalize(R"({"type": "NFKC"})", "ﬁ½"), (Normalized{"fi1\u20442", {{0, 1}, {0, 1}, {1, 2}, {1, 2}, {1, 2}}}));
  EXPECT_EQ(normalize(R"({"type": "NFKD"})", ""), (Normalized{"", {}}));
}

TEST(Normalizer, CaseAndAccents) {
  EXPECT_EQ(normalize(R"({"type": "Lowercase"})", "İA"), (Normalized{"i\u0307a", {{0, 1}, {0, 1}, {1, 2}}}));
  EXPECT_EQ(normalize(R"({"type": "StripAccents"})", "e\u0301\u0302x"), (Normalized{"ex", {{0, 1}, {3, 4}}}));
}

TEST(Normalizer, StripReplacePrepend) {
  EXPECT_EQ(normalize(R"({"type": "Strip", "strip_left": true, "strip_right": true})", "  a b \t"),
            (Normalized{"a b", {{2, 3}, {3, 4}, {4, 5}}}));
  EXPECT_EQ(normalize(R"({"type": "Strip", "strip_left": true, "strip_right": true})", " \u2003"), (Normalized{"", {}}));
  EXPECT_EQ(normalize(R"({"type": "Replace", "pattern": {"String": "ab"}, "content": "xyz"})", "cabd"),
            (Normalized{"cxyzd", {{0, 1}, {2, 3}, {2, 3}, {2, 3}, {3, 4}}}));
  EXPECT_EQ(normalize(R"({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "-"})", "axb"),
            (Normalized{"-a-b-", {{0, 0}, {0, 1}, {1, 2}, {2, 3}, {2, 3}}}));
  EXPECT_EQ(normalize(R"({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "-"})", ""), (Normalized{"", {}}));
  EXPECT_EQ(normalize(R"({"type": "Prepend", "prepend": "▁"})", "hi"), (Normalized{"▁hi", {{0, 1}, {0, 1}, {1, 2}}}));
  EXPECT_EQ(normalize(R"({"type": "Prepend", "prepend": "▁"})", ""), (Normalized{"", {}}));
}

TEST(Normalizer, NmtByteLevelBert) {
  EXPECT_EQ(normalize(R"({"type": "Nmt"})",
                      "a\x01\u200b"
                      "b"),
            (Normalized{"a b", {{0, 1}, {2, 3}, {3, 4}}}));
  EXPECT_EQ(normalize(R"({"type": "ByteLevel"})", "é "), (Normalized{"Ã©Ġ", {{0, 1}, {0, 1}, {1, 2}}}));
  EXPECT_EQ(normalize(R"({"type": "BertNormalizer"})", std::string_view("Ünï\0中A\tB", 12)),
            (Normalized{"uni 中 a b", {{0, 1}, {1, 2}, {2, 3}, {4, 5}, {4, 5}, {4, 5}, {5, 6}, {6, 7}, {7, 8}}}));
}

// {"ab" -> "X", U+0001 -> nothing} as SentencePiece writes it: the trie, then the texts.
TEST(Normalizer, PrecompiledMapOutsideItsTextsReplacesNothing) {
  // One unit of no children, no texts: nothing is replaced.
  EXPECT_EQ(normalize(R"({"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA="})", "aé"),
            (Normalized{"aé", {{0, 1}, {1, 2}}}));
  for (const char* broken : {"", "AA==", "!!!!", "AAAAAA==", "CAAAAAAAAAA=", "AwAAAAAAAA=="}) {
    const std::string json = std::string(R"({"type": "Precompiled", "precompiled_charsmap": ")") + broken + "\"}";
    EXPECT_THROW(normalize(json.c_str(), "a"), Error) << broken;
  }
}

TEST(Normalizer, ErrorsNameTheField) {
  const auto message = [](const char* json) -> std::string {
    try {
      normalize(json, "a");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(R"({"type": "Frobnicate"})"), "tokenizer.json: normalizer type 'Frobnicate' is not supported");
  EXPECT_EQ(message(R"({"lowercase": true})"), "tokenizer.json: field 'normalizer.type' is missing");
  EXPECT_EQ(message(R"({"type": "BertNormalizer", "lowercase": 1})"),
            "tokenizer.json: field 'normalizer.lowercase' must be true or false");
  EXPECT_NE(message(R"({"type": "Replace", "pattern": {"Regex": "("}, "content": ""})").find("'normalizer.pattern'"),
            std::string::npos);
  std::string nested = R"({"type": "NFC"})";
  for (int i = 0; i < 30; ++i) nested = R"({"type": "Sequence", "normalizers": [)" + nested + "]}";
  EXPECT_NE(message(nested.c_str()).find("nested at most"), std::string::npos);
}

TEST(Normalizer, HostileRulesAreStopped) {
  std::string steps;
  for (int i = 0; i < 40; ++i) steps += R"({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"},)";
  steps.back() = ']';
  EXPECT_THROW(normalize((R"({"type": "Sequence", "normalizers": [)" + steps + "}").c_str(), "aaaa"), Error);
  const std::string text = std::string(200, 'a') + "b";
  EXPECT_THROW(normalize(R"({"type": "Replace", "pattern": {"Regex": "(a|aa)+$"}, "content": ""})", text), Error);
}

}  // namespace
}  // namespace bertie::text
