// Whole tokenizers. Expected encodings are those of Hugging Face tokenizers 0.23.3; tests/parity compares many more.
#include "bertie/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

namespace bertie {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;
using Offsets = std::vector<std::pair<uint32_t, uint32_t>>;
using testing::HasSubstr;

constexpr const char* kBundled = "models/minilm-l6-mlm";
constexpr const char* kRoberta = "tests/data/tokenizers/roberta.json";

std::shared_ptr<const Tokenizer> bundled() {
  static const auto tokenizer = Tokenizer::load(kBundled);
  return tokenizer;
}

std::string read(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// A folder that goes when the test ends.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("bertie_tokenizer_test_" + std::to_string(getpid()))) {
    fs::create_directory(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  void write(const char* name, const std::string& text) const { std::ofstream(path_ / name, std::ios::binary) << text; }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

template <typename Call>
std::pair<ErrorCode, std::string> error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {ErrorCode::io, "no error"};
}

TEST(Tokenizer, EncodesAsHuggingFace) {
  const Encoding encoding = bundled()->encode("The capital of France, [MASK], contains the Eiffel Tower.");
  EXPECT_EQ(encoding.ids, (Ids{101, 1996, 3007, 1997, 2605, 1010, 103, 1010, 3397, 1996, 1041, 13355, 2884, 3578, 1012, 102}));
  EXPECT_EQ(encoding.offsets, (Offsets{{0, 0},
                                       {0, 3},
                                       {4, 11},
                                       {12, 14},
                                       {15, 21},
                                       {21, 22},
                                       {23, 29},
                                       {29, 30},
                                       {31, 39},
                                       {40, 43},
                                       {44, 45},
                                       {45, 48},
                                       {48, 50},
                                       {51, 56},
                                       {56, 57},
                                       {0, 0}}));
  EXPECT_EQ(encoding.word_ids, (Ids{-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 10, 11, -1}));
  EXPECT_EQ(bundled()->decode(encoding.ids), "the capital of france,, contains the eiffel tower.");
}

TEST(Tokenizer, PairsAndOffsetsInCharacters) {
  const Encoding encoding = bundled()->encode_pair("naïve Ünïcödé 中文 ﬁne\u200b!", "don't");
  EXPECT_EQ(encoding.ids, (Ids{101, 15743, 27260, 1746, 1861, 1984, 2638, 999, 102, 2123, 1005, 1056, 102}));
  EXPECT_EQ(
      encoding.offsets,
      (Offsets{
          {0, 0}, {0, 5}, {6, 13}, {14, 15}, {15, 16}, {17, 18}, {18, 20}, {21, 22}, {0, 0}, {0, 3}, {3, 4}, {4, 5}, {0, 0}}));
  EXPECT_EQ(encoding.type_ids, (Ids{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1}));
}

TEST(Tokenizer, Windows) {
  const auto windows =
      bundled()->encode_windows("one two three four five six seven", std::nullopt, {.max_length = 6, .stride = 2});
  ASSERT_EQ(windows.size(), 3u);
  EXPECT_EQ(windows[0].ids, (Ids{101, 2028, 2048, 2093, 2176, 102}));
  EXPECT_EQ(windows[1].ids, (Ids{101, 2093, 2176, 2274, 2416, 102}));
  EXPECT_EQ(windows[2].offsets, (Offsets{{0, 0}, {19, 23}, {24, 27}, {28, 33}, {0, 0}}));
  const auto refuse = [](Truncation truncation) {
    return error_of([&] { bundled()->encode_windows("a b c d e f", std::nullopt, truncation); }).first;
  };
  EXPECT_EQ(refuse({.max_length = 2}), ErrorCode::invalid_argument);
  EXPECT_EQ(refuse({.max_length = 6, .stride = 4}), ErrorCode::invalid_argument);
}

TEST(Tokenizer, ByteLevelOffsetsLeaveOutTheSpaces) {
  const auto tokenizer = Tokenizer::load(kRoberta);
  const Encoding encoding = tokenizer->encode_pair("A  <mask> in Paris, don't", " é");
  EXPECT_EQ(encoding.ids, (Ids{0, 37, 4, 298, 568, 289, 274, 16, 2826, 919, 2, 2, 225, 956, 2}));
  EXPECT_EQ(encoding.offsets, (Offsets{{0, 0},
                                       {0, 1},
                                       {3, 9},
                                       {10, 12},
                                       {13, 14},
                                       {14, 16},
                                       {16, 18},
                                       {18, 19},
                                       {20, 23},
                                       {23, 25},
                                       {0, 0},
                                       {0, 0},
                                       {1, 1},
                                       {1, 2},
                                       {0, 0}}));
  EXPECT_EQ(tokenizer->decode(encoding.ids, false), "<s>A<mask> in Paris, don't</s></s> é</s>");
  EXPECT_EQ(tokenizer->mask_token(), "<mask>");
}

TEST(Tokenizer, NothingAndNothingButSpaces) {
  EXPECT_EQ(bundled()->encode("").ids, (Ids{101, 102}));
  EXPECT_EQ(bundled()->encode(" \n\t").ids, (Ids{101, 102}));
  EXPECT_EQ(bundled()->encode("", false).size(), 0u);
  EXPECT_EQ(bundled()->decode(Ids{}), "");
}

TEST(Tokenizer, RefusesInvalidUtf8AtItsByte) {
  const auto [code, message] = error_of([] { bundled()->encode("abc \xff def"); });
  EXPECT_EQ(code, ErrorCode::invalid_text);
  EXPECT_EQ(message, "the text is not valid UTF-8 at byte 4");
}

TEST(Tokenizer, KnowsItsVocabulary) {
  EXPECT_EQ(bundled()->vocabulary_size(), 30522u);
  EXPECT_EQ(bundled()->token_to_id("[MASK]"), 103);
  EXPECT_EQ(bundled()->id_to_token(103), "[MASK]");
  EXPECT_EQ(bundled()->id_to_token(30522), "");
  EXPECT_EQ(bundled()->id_to_token(-1), "");
  EXPECT_EQ(bundled()->mask_id(), 103);
  EXPECT_EQ(bundled()->pad_id(), 0);
  EXPECT_EQ(bundled()->unknown_id(), 100);
  EXPECT_EQ(bundled()->model_max_length(), 512u);
  EXPECT_EQ(bundled()->stated_max_length(), std::nullopt);
}

TEST(Tokenizer, ItsJsonMakesItAgain) {
  const auto again = Tokenizer::from_json(bundled()->json());
  EXPECT_EQ(again->model_max_length(), 512u);
  EXPECT_EQ(again->encode("Ünïcödé [MASK]").ids, bundled()->encode("Ünïcödé [MASK]").ids);
}

TEST(Tokenizer, VocabularyFilesMakeTheSameTokenizer) {
  const std::vector<const char*> texts{"The capital of France, [MASK]!", "Ünïcödé 中文 unaffable [SEP]x", "",
                                       "don't\u200b 12.5%"};
  const Folder folder;
  folder.write("vocab.txt", read(fs::path(kBundled) / "vocab.txt"));
  const auto bare = Tokenizer::load(folder.path());
  folder.write("tokenizer_config.json", read(fs::path(kBundled) / "tokenizer_config.json"));
  const auto configured = Tokenizer::load(folder.path());
  EXPECT_EQ(bare->model_max_length(), std::nullopt);
  EXPECT_EQ(configured->model_max_length(), 512u);
  for (const char* text : texts) {
    const Encoding expected = bundled()->encode_pair(text, "two");
    for (const auto& tokenizer : {bare, configured}) {
      const Encoding encoding = tokenizer->encode_pair(text, "two");
      EXPECT_EQ(encoding.ids, expected.ids) << text;
      EXPECT_EQ(encoding.offsets, expected.offsets) << text;
      EXPECT_EQ(encoding.type_ids, expected.type_ids) << text;
    }
  }
  folder.write("tokenizer_config.json", R"({"do_lower_case": false, "model_max_length": 1000000000000000019884624838656})");
  const auto cased = Tokenizer::load(folder.path());
  EXPECT_EQ(cased->encode("paris Paris", false).ids, (Ids{3000, 100}));
  EXPECT_EQ(cased->model_max_length(), std::nullopt);
}

TEST(Tokenizer, VocabularyAndMergesMakeTheSameTokenizer) {
  const nlohmann::json document = nlohmann::json::parse(read(kRoberta));
  std::string merges = "#version: 0.2\n";
  for (const auto& merge : document["model"]["merges"]) {
    merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
  }
  const Folder folder;
  folder.write("vocab.json", document["model"]["vocab"].dump());
  folder.write("merges.txt", merges);
  const auto tokenizer = Tokenizer::load(folder.path());
  const auto expected = Tokenizer::load(kRoberta);
  for (const char* text : {"A  <mask> in Paris, don't", " é 日本", "<s>"}) {
    EXPECT_EQ(tokenizer->encode_pair(text, "x y").ids, expected->encode_pair(text, "x y").ids) << text;
    EXPECT_EQ(tokenizer->encode_pair(text, "x y").offsets, expected->encode_pair(text, "x y").offsets) << text;
  }
}

TEST(Tokenizer, BadFilesAreNamed) {
  EXPECT_EQ(error_of([] { Tokenizer::load("/nowhere/tokenizer.json"); }).first, ErrorCode::not_found);
  const Folder folder;
  EXPECT_EQ(error_of([&] { Tokenizer::load(folder.path()); }).first, ErrorCode::not_found);
  folder.write("tokenizer.json", "{\"model\": ");
  const auto [code, message] = error_of([&] { Tokenizer::load(folder.path()); });
  EXPECT_EQ(code, ErrorCode::invalid_file);
  EXPECT_THAT(message, HasSubstr(folder.path() + "/tokenizer.json"));
  EXPECT_THAT(error_of([] { Tokenizer::from_json("{}"); }).second, HasSubstr("'model' is missing"));
  EXPECT_THAT(error_of([] { Tokenizer::from_json(R"({"model": {"type": "Guess", "vocab": {}}})"); }).second, HasSubstr("Guess"));
  const auto with = [](const std::string& fields) {
    return error_of([&] {
      Tokenizer::from_json("{" + fields + R"(, "model": {"type": "WordLevel", "unk_token": "a", "vocab": {"a": 0}}})", "x.json");
    });
  };
  EXPECT_EQ(with(R"("added_tokens": 3)").second, "x.json: field 'added_tokens' must be a list");
  EXPECT_EQ(with(R"("added_tokens": [{"content": 3}])").second, "x.json: field 'added_tokens.content' must be a string");
  EXPECT_EQ(with(R"("decoder": {"type": "CTC"})").second, "x.json: decoder type 'CTC' is not supported");
  EXPECT_EQ(with(R"("truncation": {"max_length": -1})").first, ErrorCode::invalid_file);
  EXPECT_EQ(with(R"("version": "9")").first, ErrorCode::unsupported);
}

TEST(Tokenizer, AddedTokensKeepTheirFlags) {
  const auto tokenizer = Tokenizer::from_json(R"({"added_tokens": [
      {"content": "<m>", "lstrip": true, "rstrip": true, "special": true, "normalized": false},
      {"content": "word", "single_word": true}, {"content": "AB", "normalized": true}, {"content": "<m>>", "normalized": false}],
    "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "WhitespaceSplit"},
    "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "x": 1}}})");
  const Encoding encoding = tokenizer->encode("X  <m>\t x Word words xab<m>>");
  EXPECT_EQ(encoding.ids, (Ids{1, 2, 1, 3, 0, 1, 4, 5}));  // the longest token counts: <m>> after xab
  EXPECT_EQ(encoding.offsets, (Offsets{{0, 1}, {1, 8}, {8, 9}, {10, 14}, {15, 20}, {21, 22}, {22, 24}, {24, 28}}));
  EXPECT_EQ(tokenizer->decode(encoding.ids, true), "x x word ? x ab <m>>");
}

TEST(Tokenizer, ManyThreadsGetTheSame) {
  const std::string text = read("tests/data/evaluation.txt");
  const Encoding expected = bundled()->encode(text);
  std::vector<std::thread> threads;
  std::array<bool, 4> same{};
  for (size_t t = 0; t < same.size(); ++t) {
    threads.emplace_back([&, t] { same[t] = bundled()->encode(text).ids == expected.ids; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(same, testing::Each(true));
}

double encode_seconds(const Tokenizer& tokenizer, const std::string& text) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const double start = now();
  tokenizer.encode(text);
  return now() - start;
}

TEST(Tokenizer, TimeIsLinearInTheText) {
  const char* const kFiles[] = {"models/minilm-l6-mlm/tokenizer.json", kRoberta, "tests/data/tokenizers/xlm_roberta.json"};
  const std::string_view kUnits[] = {"The quick brown fox. ", "a", "中", "e\u0301", "[MASK]", " ", "\u0301"};
  for (const char* file : kFiles) {
    const auto tokenizer = Tokenizer::load(file);
    for (const std::string_view unit : kUnits) {
      std::string small, large;
      while (small.size() < (size_t{1} << 16)) small += unit;
      for (int i = 0; i < 16; ++i) large += small;
      const double once = std::max(encode_seconds(*tokenizer, small), 1e-4);
      // 16 when linear, 256 when quadratic.
      EXPECT_LT(encode_seconds(*tokenizer, large) / once, 100) << file << " on repeated '" << unit << "'";
    }
  }
}

}  // namespace
}  // namespace bertie
