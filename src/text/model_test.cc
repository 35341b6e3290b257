// All models against Hugging Face's: testdata/models.json says by which script its tokens were made.
#include "text/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/error.h"
#include "text/model_source.h"

namespace bertie::text {
namespace {

using nlohmann::json;

json read_json(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return json::parse(file);
}

std::vector<json> golden_cases() {
  const json golden = read_json("src/text/testdata/models.json");
  return golden.at("cases").get<std::vector<json>>();
}

std::unique_ptr<TokenizerModel> model_of(const json& golden) {
  if (golden.contains("model")) return make_model(golden["model"], "model");
  return make_model(read_json(golden["file"]).at("model"), golden["file"]);
}

// As in the golden file: null where the model refuses the word.
json tokens_of(const TokenizerModel& model, const std::string& word) {
  std::vector<ModelToken> tokens{{-7, 1, 2}};  // what is there stays
  try {
    model.tokenize(word, tokens);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_text);
    return nullptr;
  }
  EXPECT_EQ(tokens[0].id, -7);
  json result = json::array();
  for (size_t i = 1; i < tokens.size(); ++i) result.push_back({tokens[i].id, tokens[i].begin, tokens[i].end});
  return result;
}

TEST(Models, EqualHuggingFaces) {
  const std::vector<json> cases = golden_cases();
  ASSERT_GE(cases.size(), 30u);
  for (const json& golden : cases) {
    const auto model = model_of(golden);
    for (int round = 0; round < 2; ++round) {  // the second from the cache of words
      for (size_t i = 0; i < golden["words"].size(); ++i) {
        EXPECT_EQ(tokens_of(*model, golden["words"][i]), golden["tokens"][i]) << golden["name"] << " " << golden["words"][i];
      }
    }
  }
}

// Models share the cache of a thread; threads share the models.
TEST(Models, ShareThreads) {
  const std::vector<json> cases = golden_cases();
  std::vector<std::unique_ptr<TokenizerModel>> models;
  for (const json& golden : cases) models.push_back(model_of(golden));
  const auto check = [&] {
    for (int round = 0; round < 20; ++round) {
      for (size_t m = 0; m < models.size(); ++m) {
        for (size_t i = 0; i < cases[m]["words"].size(); ++i) {
          EXPECT_EQ(tokens_of(*models[m], cases[m]["words"][i]), cases[m]["tokens"][i]);
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) threads.emplace_back(check);
  for (std::thread& thread : threads) thread.join();
}

TEST(Models, AnswerFromTheirVocabulary) {
  const auto model = make_model(read_json("models/minilm-l6-mlm/tokenizer.json").at("model"), "model");
  EXPECT_EQ(model->vocabulary_size(), 30522u);
  EXPECT_EQ(model->id_limit(), 30522);
  EXPECT_EQ(model->token_to_id("paris"), 3000);
  EXPECT_EQ(model->id_to_token(3000), "paris");
  EXPECT_EQ(model->token_to_id("no such piece"), std::nullopt);
  EXPECT_EQ(model->id_to_token(-1), "");
  EXPECT_EQ(model->id_to_token(30522), "");
  EXPECT_EQ(model->unknown_id(), 100);
}

// The error of a model's text; the test fails where there is none.
std::string refusal(const std::string& text, ErrorCode code = ErrorCode::invalid_file) {
  try {
    make_model(parse_model_json(text, "f.json"), "f.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return "";
}

TEST(Models, RefuseBadFiles) {
  using testing::HasSubstr;
  const std::string word_level = R"("type": "WordLevel", "unk_token": "u", )";
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": 1, "b": 1}})"), HasSubstr(R"(gives the id 1 to "a" and to "b")"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": 9000000, "b": 9000000}})"), HasSubstr("the id 9000000 to"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": 1, "a": 2}})"), HasSubstr(R"("a" twice, with the ids 1 and 2)"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": -4}})"), HasSubstr(R"("a" the id -4, not a whole number)"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": 16777216}})"), HasSubstr("the id 16777216"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": 99999999999999999999999}})"),
              HasSubstr("the id 99999999999999999999999"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": 1.5}})"), HasSubstr("the id 1.5"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": "1"}})"), HasSubstr(R"(holds a string for "a")"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": {"a": {}}})"), HasSubstr("holds an object"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": [["a", 1]]})"), HasSubstr("not an object of pieces and ids"));
  EXPECT_THAT(refusal("{" + word_level + R"("vocab": null})"), HasSubstr("model.vocab is null"));
  EXPECT_THAT(refusal(R"({"type": "WordLevel", "unk_token": "u"})"), HasSubstr("model.vocab is missing"));
  EXPECT_THAT(refusal(R"({"type": "WordLevel", "vocab": {}})"), HasSubstr("model.unk_token is missing"));
  EXPECT_THAT(refusal(R"({"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "", "vocab": {}})"),
              HasSubstr("model.max_input_chars_per_word is missing"));
  EXPECT_THAT(refusal(R"({"vocab": {}})"), HasSubstr("model.type is missing"));
  EXPECT_THAT(refusal(R"({"type": 3, "vocab": {}})"), HasSubstr("model.type is not a string"));
  EXPECT_THAT(refusal(R"({"type": "Glove", "vocab": {}})", ErrorCode::unsupported), HasSubstr("Glove"));
  EXPECT_THAT(refusal("[]"), HasSubstr("not an object"));
  EXPECT_THAT(refusal(R"({"vocab": {"a": 1)"), HasSubstr("f.json: not valid JSON at byte"));
  EXPECT_THAT(refusal("{\"vocab\": {\"\xff\": 1}}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(R"({"x": )" + std::string(5000, '[')), HasSubstr("nested deeper"));
}

TEST(Models, RefuseBadMerges) {
  using testing::HasSubstr;
  const std::string bpe = R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, )";
  EXPECT_THAT(refusal(bpe + R"("merges": [["a", "b"], ["a", "x"]]})"), HasSubstr(R"(merges[1]: "a" and "x", the second is not)"));
  EXPECT_THAT(refusal(bpe + R"("merges": [["b", "a"]]})"), HasSubstr("joined, are not in model.vocab"));
  EXPECT_THAT(refusal(bpe + R"("merges": ["a b", "ab"]})"), HasSubstr(R"(merges[1] is "ab", not two pieces)"));
  EXPECT_THAT(refusal(bpe + R"("merges": ["a b c"]})"), HasSubstr("not two pieces"));
  EXPECT_THAT(refusal(bpe + R"("merges": [["a"]]})"), HasSubstr("merges[0] holds"));
  EXPECT_THAT(refusal(bpe + R"("merges": [["a", "b", "ab"]]})"), HasSubstr("more than two"));
  EXPECT_THAT(refusal(bpe + R"("merges": ["a b", ["a", "b"]]})"), HasSubstr("mixture"));
  EXPECT_THAT(refusal(bpe + R"("merges": [7]})"), HasSubstr("holds a number"));
  EXPECT_THAT(refusal(bpe + R"("merges": {}})"), HasSubstr("merges"));
  EXPECT_THAT(refusal(bpe + R"("unk_token": "a"})"), HasSubstr("model.merges is missing"));
  EXPECT_THAT(refusal(bpe + R"("continuing_subword_prefix": "##", "merges": [["a", "b"]]})"), HasSubstr("shorter than"));
  EXPECT_THAT(refusal(bpe + R"("dropout": 0.1, "merges": []})", ErrorCode::unsupported), HasSubstr("model.dropout"));
}

TEST(Models, RefuseBadScores) {
  using testing::HasSubstr;
  const std::string unigram = R"({"type": "Unigram", "unk_id": 1, "vocab": )";
  EXPECT_THAT(refusal(unigram + R"([["a", 0]]})"), HasSubstr("model.unk_id is 1, but model.vocab has 1 pieces"));
  EXPECT_THAT(refusal(R"({"type": "Unigram", "unk_id": -1, "vocab": [["a", 0]]})"), HasSubstr("model.unk_id"));
  EXPECT_THAT(refusal(unigram + R"([["a", 0], ["b", "c"]]})"), HasSubstr("model.vocab[1] holds a string"));
  EXPECT_THAT(refusal(unigram + R"([["a", 0], ["b"]]})"), HasSubstr("model.vocab[1] holds"));
  EXPECT_THAT(refusal(unigram + R"([["a", 0, 0]]})"), HasSubstr("model.vocab[1] holds a number"));
  EXPECT_THAT(refusal(unigram + R"([[0, "a"]]})"), HasSubstr("model.vocab[0] holds a number"));
  EXPECT_THAT(refusal(unigram + R"([["a", 1e999]]})"), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(unigram + R"([["a", null]]})"), HasSubstr("holds null"));
  EXPECT_THAT(refusal(unigram + R"({"a": 0}})"), HasSubstr("not an array of pieces and scores"));
}

}  // namespace
}  // namespace bertie::text
