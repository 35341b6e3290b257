// config.json and the files of a sentence-transformers folder.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bertie/base.h"
#include "formats/hugging_face_config.h"
#include "formats/sentence_transformers_config.h"

namespace bertie {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const nlohmann::json kBert = {{"model_type", "bert"},          {"hidden_size", 12},       {"num_hidden_layers", 2},
                              {"num_attention_heads", 3},      {"intermediate_size", 20}, {"vocab_size", 30},
                              {"architectures", {"BertModel"}}};

HuggingFaceConfig parse(nlohmann::json config, const nlohmann::json& changes = {}) {
  if (!changes.is_null()) config.update(changes);
  return parse_hugging_face_config(config.dump(), "config.json");
}

// The message, and the code where it is not invalid_file.
template <typename Function>
std::string refusal(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return fmt::format("{}{}", error.code() == ErrorCode::unsupported ? "unsupported: " : "", error.what());
  }
  return "accepted";
}

TEST(HuggingFaceConfig, HasTransformersDefaults) {
  const HuggingFaceConfig config = parse(kBert);
  EXPECT_EQ(config.architecture, "BertModel");
  EXPECT_EQ(config.max_position_embeddings, 512);
  EXPECT_EQ(config.type_vocabulary, 2);
  EXPECT_EQ(config.layer_norm_eps, 1e-12);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.pad_token_id);
  EXPECT_FALSE(config.hidden_act);
  EXPECT_THAT(config.labels, ElementsAre("LABEL_0", "LABEL_1"));
}

TEST(HuggingFaceConfig, ReadsDistilBertsNames) {
  const HuggingFaceConfig config = parse({{"model_type", "distilbert"},
                                          {"dim", 10},
                                          {"n_layers", 3},
                                          {"n_heads", 5},
                                          {"hidden_dim", 7},
                                          {"vocab_size", 9},
                                          {"activation", "relu"}});
  EXPECT_EQ(config.hidden_size, 10);
  EXPECT_EQ(config.layers, 3);
  EXPECT_EQ(config.heads, 5);
  EXPECT_EQ(config.intermediate_size, 7);
  EXPECT_EQ(config.hidden_act, "relu");
}

TEST(HuggingFaceConfig, OrdersLabelsById) {
  nlohmann::json labels;
  for (int id = 11; id >= 0; --id) labels[std::to_string(id)] = fmt::format("label {}", id);
  const HuggingFaceConfig config = parse(kBert, {{"id2label", labels}});
  ASSERT_EQ(config.labels.size(), 12u);
  EXPECT_EQ(config.labels[2], "label 2");
  EXPECT_EQ(config.labels[10], "label 10");
  EXPECT_THAT(parse(kBert, {{"num_labels", 3}}).labels, ElementsAre("LABEL_0", "LABEL_1", "LABEL_2"));
  EXPECT_THAT(refusal([] { parse(kBert, {{"id2label", {{"1", "a"}}}}); }), HasSubstr("'id2label'"));
}

TEST(HuggingFaceConfig, ReadsScoreActivations) {
  const std::string identity = "torch.nn.modules.linear.Identity";
  EXPECT_EQ(parse(kBert, {{"sentence_transformers", {{"activation_fn", identity}, {"version", "4"}}}}).score_activation,
            identity);
  EXPECT_EQ(parse(kBert, {{"sbert_ce_default_activation_function", identity}}).score_activation, identity);
}

TEST(HuggingFaceConfig, RefusesOtherComputations) {
  const auto refused = [](const char* field, const nlohmann::json& value) {
    const std::string message = refusal([&] { parse(kBert, {{field, value}}); });
    EXPECT_THAT(message, testing::StartsWith(fmt::format("unsupported: config.json: field '{}'", field)));
  };
  refused("position_embedding_type", "relative_key");
  refused("is_decoder", true);
  refused("add_cross_attention", true);
  refused("is_encoder_decoder", true);
  refused("pruned_heads", {{"0", {1}}});
  refused("quantization_config", {{"bits", 4}});
  refused("relative_attention_num_buckets", 64);
  EXPECT_EQ(refusal([] { parse(kBert, {{"is_decoder", false}, {"pruned_heads", nlohmann::json::object()}}); }), "accepted");
}

TEST(HuggingFaceConfig, NamesTheWrongField) {
  const auto refused = [](const char* field, const nlohmann::json& value) {
    EXPECT_THAT(refusal([&] {
                  parse(kBert, {{field, value}});
                }),
                testing::StartsWith(fmt::format("config.json: field '{}'", field)));
  };
  for (const char* field : {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"}) {
    for (const nlohmann::json& value : {nlohmann::json(-1), nlohmann::json("12"), nlohmann::json(1.5), nlohmann::json(nullptr),
                                        nlohmann::json(uint64_t{1} << 63), nlohmann::json(1LL << 40), nlohmann::json::array()}) {
      refused(field, value);
    }
  }
  refused("hidden_size", 0);
  refused("model_type", 7);
  refused("architectures", "BertModel");
  refused("architectures", {1});
  refused("hidden_act", {{"name", "gelu"}});
  refused("layer_norm_eps", "small");
  refused("layer_norm_eps", -1e-5);
  refused("tie_word_embeddings", 1);
  refused("id2label", {"a", "b"});
  refused("inner_group_num", 4000);
  EXPECT_THAT(refusal([] { parse_hugging_face_config("", "config.json"); }), HasSubstr("config.json: not valid JSON"));
  EXPECT_THAT(refusal([] { parse_hugging_face_config("[]", "config.json"); }), HasSubstr("must hold a JSON object"));
  EXPECT_THAT(refusal([] { parse_hugging_face_config("{\"a\":1e999}", "config.json"); }), HasSubstr("out of range"));
  EXPECT_THAT(refusal([] { parse_hugging_face_config(std::string(1000000, '['), "config.json"); }), HasSubstr("nested deeper"));
}

TEST(SentenceTransformersConfig, ReadsModulesOfAnyVersion) {
  const auto modules = parse_sentence_modules(
      R"([{"idx":0,"path":"","type":"sentence_transformers.models.Transformer"},
          {"idx":1,"path":"1_Pooling","type":"sentence_transformers.sentence_transformer.modules.pooling.Pooling"}])",
      "m");
  ASSERT_EQ(modules.size(), 2u);
  EXPECT_EQ(modules[1].kind, "Pooling");
  EXPECT_EQ(modules[1].path, "1_Pooling");
  const auto refused = [](const std::string& text) { return refusal([&] { parse_sentence_modules(text, "m"); }); };
  EXPECT_THAT(refused("[]"), HasSubstr("list of modules"));
  EXPECT_THAT(refused(R"([{"type":"my.Pooling"}])"), HasSubstr("unsupported: m: a module of type 'my.Pooling'"));
  EXPECT_THAT(refused(R"([{"type":"sentence_transformers.models.CNN"}])"), HasSubstr("CNN"));
  EXPECT_THAT(refused(R"([{"type":"sentence_transformers.models.Pooling"}])"), HasSubstr("first module"));
  EXPECT_THAT(refused(R"([{"path":"../x","type":"sentence_transformers.models.Transformer"}])"), HasSubstr("'0.path'"));
  EXPECT_THAT(refused(R"([{"path":"/x","type":"sentence_transformers.models.Transformer"}])"), HasSubstr("'0.path'"));
  EXPECT_THAT(refused(R"([{}])"), HasSubstr("'0.type' is missing"));
}

TEST(SentenceTransformersConfig, ReadsPoolingOfAnyVersion) {
  const auto mode = [](const std::string& fields) {
    return parse_sentence_pooling(fmt::format(R"({{"word_embedding_dimension":4{}}})", fields), "p").mode;
  };
  EXPECT_EQ(mode(""), "mean");
  EXPECT_EQ(mode(R"(,"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false)"), "cls");
  EXPECT_EQ(mode(R"(,"pooling_mode_max_tokens":true)"), "max");
  EXPECT_EQ(mode(R"(,"pooling_mode_mean_sqrt_len_tokens":true)"), "mean_sqrt_length");
  EXPECT_EQ(mode(R"(,"pooling_mode":"cls")"), "cls");
  EXPECT_EQ(mode(R"(,"pooling_mode":["max"])"), "max");
  EXPECT_EQ(parse_sentence_pooling(R"({"embedding_dimension":7})", "p").dimension, 7);
  const auto refused = [&](const std::string& fields) { return refusal([&] { mode(fields); }); };
  EXPECT_THAT(refused(R"(,"pooling_mode":["max","mean"])"), HasSubstr("unsupported: p: pooling by 2 modes"));
  EXPECT_THAT(refused(R"(,"pooling_mode":"lasttoken")"), HasSubstr("'lasttoken' is not supported"));
  EXPECT_THAT(refused(R"(,"pooling_mode":"none")"), HasSubstr("'none' is not supported"));
  EXPECT_THAT(refused(R"(,"pooling_mode":3)"), HasSubstr("'pooling_mode'"));
}

TEST(SentenceTransformersConfig, ReadsDenseAndLimits) {
  const SentenceDense dense = parse_sentence_dense(
      R"({"in_features":3,"out_features":2,"bias":false,"activation_function":"torch.nn.modules.linear.Identity"})", "d");
  EXPECT_EQ(dense.activation, "Identity");
  EXPECT_FALSE(dense.bias);
  EXPECT_THAT(refusal([] { parse_sentence_dense(R"({"in_features":3,"out_features":2,"use_residual":true})", "d"); }),
              HasSubstr("use_residual"));
  EXPECT_EQ(parse_sentence_limits(R"({"max_seq_length":256,"do_lower_case":true})", "l").max_seq_length, 256);
  EXPECT_FALSE(parse_sentence_limits(R"({"max_seq_length":null})", "l").max_seq_length);
  EXPECT_THAT(refusal([] { parse_sentence_limits(R"({"max_seq_length":0})", "l"); }), HasSubstr("'max_seq_length'"));
}

TEST(SentenceTransformersConfig, FindsTheTokenizersLimit) {
  EXPECT_EQ(tokenizer_truncation(R"({"version":"1.0","truncation":{"direction":"Right","max_length":128,"stride":0},"model":)"),
            128);
  EXPECT_EQ(tokenizer_truncation(R"({"padding":{"max_length":5},"truncation":{"x":{"max_length":7},"max_length":6}})"), 6);
  EXPECT_FALSE(tokenizer_truncation(R"({"truncation":null,"other":{"max_length":3}})"));
  EXPECT_FALSE(tokenizer_truncation(R"({"truncation":{"max_length":-1}})"));
  EXPECT_FALSE(tokenizer_truncation("not JSON"));
  EXPECT_FALSE(tokenizer_truncation(std::string(1000000, '[')));
  EXPECT_EQ(tokenizer_model_max_length(R"({"model_max_length":512})"), 512);
  EXPECT_FALSE(tokenizer_model_max_length(R"({"model_max_length":1000000000000000019884624838656})"));
  EXPECT_FALSE(tokenizer_model_max_length(R"({"model_max_length":0})"));
  EXPECT_FALSE(tokenizer_model_max_length("[]"));
  EXPECT_FALSE(tokenizer_model_max_length("{"));
}

}  // namespace
}  // namespace bertie
