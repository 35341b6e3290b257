// Loading, what is known of a model, and what is refused. Values are checked by tests/conformance/families_test.cc.
#include "bertie/model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "models/builder.h"
#include "models/hugging_face.h"
#include "models/random_weights.h"

namespace bertie {
namespace {

using models::build_model;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kBundled = "models/minilm-l6-mlm";

Model family(const std::string& name) { return Model::load("tests/data/families/" + name); }

std::map<std::string, std::string> output_shapes(const Model& model) {
  std::map<std::string, std::string> shapes;
  for (const auto& output : model.network().outputs()) shapes[output.name] = to_string(model.network().value(output.value).shape);
  return shapes;
}

std::vector<std::string> input_names(const Model& model) {
  std::vector<std::string> names;
  for (ValueId id : model.network().inputs()) names.push_back(model.network().value(id).name);
  return names;
}

std::vector<ValueId> constants(const Network& network) {
  std::set<ValueId> ids;
  for (NodeId node : network.order()) {
    for (ValueId id : network.node(node).inputs) {
      if (id != kNone && network.value(id).constant) ids.insert(id);
    }
  }
  return {ids.begin(), ids.end()};
}

const Node& node_of(const Network& network, const std::string& name) {
  for (NodeId id : network.order()) {
    if (network.node(id).name == name) return network.node(id);
  }
  throw std::runtime_error("no node " + name);
}

template <typename Function>
std::string refusal(ErrorCode code, Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "accepted";
}

TEST(Model, DescribesTheBundledModel) {
  const Model model = Model::load(kBundled);
  const ModelInfo& info = model.info();
  EXPECT_EQ(info.source, kBundled);
  EXPECT_EQ(info.family, "bert");
  EXPECT_EQ(info.architecture, "BertForMaskedLM");
  EXPECT_EQ(info.layers, 6);
  EXPECT_EQ(info.hidden_size, 384);
  EXPECT_EQ(info.heads, 12);
  EXPECT_EQ(info.head_dim, 32);
  EXPECT_EQ(info.ffn, 1536);
  EXPECT_EQ(info.vocabulary, 30522);
  EXPECT_EQ(info.max_positions, 512);
  EXPECT_EQ(info.type_vocabulary, 2);
  EXPECT_EQ(info.pad_id, 0);
  EXPECT_THAT(info.tasks, ElementsAre("fill-mask"));
  EXPECT_THAT(info.surplus_tensors, IsEmpty());
  EXPECT_FALSE(info.pooling);
  EXPECT_FALSE(info.max_sequence_length);
  EXPECT_THAT(input_names(model), ElementsAre("input_ids", "attention_mask", "token_type_ids", "position_ids"));
  EXPECT_THAT(output_shapes(model), ElementsAre(testing::Pair("last_hidden_state", "[batch, sequence, 384]"),
                                                testing::Pair("logits", "[batch, sequence, 30522]")));
  model.network().verify();
}

TEST(Model, KeepsWeightsInTheMappedFile) {
  const Model model = Model::load(kBundled);
  const Network& network = model.network();
  const std::vector<ValueId> ids = constants(network);
  const std::shared_ptr<const void>& mapping = network.value(ids[0]).constant->data;
  int64_t elements = 0;
  for (ValueId id : ids) {
    const Tensor& tensor = *network.value(id).constant;
    EXPECT_EQ(tensor.dtype, DType::f16) << network.value(id).name;
    EXPECT_FALSE(mapping.owner_before(tensor.data) || tensor.data.owner_before(mapping)) << network.value(id).name;
    elements += tensor.shape.elements();
  }
  EXPECT_EQ(model.info().parameters, elements);
  const Node& decoder = node_of(network, "cls.predictions.decoder");
  EXPECT_EQ(decoder.input(1), node_of(network, "embeddings.word_embeddings").input(0));
  EXPECT_EQ(network.value(decoder.input(1)).name, "bert.embeddings.word_embeddings.weight");
}

TEST(Model, NamesNodesAsTheCheckpoint) {
  const Model model = Model::load(kBundled);
  const Node& attention = node_of(model.network(), "encoder.layer.3.attention.self");
  EXPECT_EQ(attention.op, "attention");
  EXPECT_EQ(attention.integer("heads"), 12);
  EXPECT_DOUBLE_EQ(attention.real("scale"), 1 / std::sqrt(32.0));
  EXPECT_EQ(node_of(model.network(), "encoder.layer.5.output.LayerNorm").real("epsilon"), 1e-12);
  EXPECT_EQ(node_of(family("distilbert_model").network(), "transformer.layer.2.attention").op, "attention");
  EXPECT_EQ(node_of(family("albert_model_groups").network(), "encoder.layer.9.attention").op, "attention");
}

TEST(Model, SharesAlbertsLayers) {
  const Model model = family("albert_model_groups");
  EXPECT_EQ(model.info().layers, 10);  // 5, of 2 inner layers each
  std::set<ValueId> queries;
  for (int layer = 0; layer < 10; ++layer) {
    queries.insert(node_of(model.network(), fmt::format("encoder.layer.{}.attention.query", layer)).input(1));
  }
  EXPECT_EQ(queries.size(), 4u);  // 2 groups of 2
}

TEST(Model, KnowsPositions) {
  EXPECT_EQ(family("bert_model").network().position_rule(), PositionRule{});
  EXPECT_EQ(family("bert_model").info().max_positions, 32);
  for (const char* name : {"roberta_model", "xlm-roberta_model", "camembert_model", "mpnet_model"}) {
    const Model model = family(name);
    const ModelInfo& info = model.info();
    EXPECT_EQ(model.network().position_rule(), (PositionRule{.first = 2, .padding_id = 1})) << name;
    EXPECT_EQ(info.pad_id, 1) << name;
    EXPECT_EQ(info.max_positions, 32) << name;
  }
}

TEST(Model, HasOnlyTheInputsOfItsFamily) {
  EXPECT_THAT(input_names(family("distilbert_model")), ElementsAre("input_ids", "attention_mask", "position_ids"));
  EXPECT_THAT(input_names(family("mpnet_model")), ElementsAre("input_ids", "attention_mask", "position_ids"));
  EXPECT_THAT(input_names(family("roberta_model")), ElementsAre("input_ids", "attention_mask", "token_type_ids", "position_ids"));
}

TEST(Model, KnowsHeads) {
  const Model sequence = family("bert_sequence");
  EXPECT_THAT(sequence.info().labels, ElementsAre("low", "middle", "high"));
  EXPECT_EQ(sequence.info().problem_type, ProblemType::single_label);
  EXPECT_THAT(sequence.info().tasks, ElementsAre("classify"));
  EXPECT_EQ(output_shapes(sequence)["logits"], "[batch, 3]");
  EXPECT_EQ(output_shapes(sequence)["pooler_output"], "[batch, 30]");

  EXPECT_EQ(family("bert_sequence_multi_label").info().problem_type, ProblemType::multi_label);
  const ModelInfo regression = family("bert_sequence_regression").info();
  EXPECT_EQ(regression.problem_type, ProblemType::regression);
  EXPECT_THAT(regression.tasks, ElementsAre("classify", "rerank"));
  EXPECT_EQ(regression.score_activation, "sigmoid");

  const Model token = family("electra_token");
  EXPECT_THAT(token.info().labels, ElementsAre("O", "B-PER", "I-PER", "B-LOC", "I-LOC"));
  EXPECT_EQ(output_shapes(token)["logits"], "[batch, sequence, 5]");
  EXPECT_THAT(token.info().tasks, ElementsAre("tag"));

  const Model answer = family("mpnet_answer");
  EXPECT_EQ(output_shapes(answer)["start_logits"], "[batch, sequence, 1]");
  EXPECT_THAT(answer.info().squeezed_outputs, ElementsAre("start_logits", "end_logits"));
  EXPECT_THAT(answer.info().tasks, ElementsAre("answer"));

  const Model discriminator = family("electra_pretraining");
  EXPECT_EQ(output_shapes(discriminator)["logits"], "[batch, sequence, 1]");
  EXPECT_THAT(discriminator.info().squeezed_outputs, ElementsAre("logits"));
  EXPECT_THAT(discriminator.info().tasks, IsEmpty());
}

TEST(Model, KnowsSentenceEmbeddings) {
  const ModelInfo mean = family("sentence_mean_normalize").info();
  ASSERT_TRUE(mean.pooling);
  EXPECT_EQ(mean.pooling->mode, "mean");
  EXPECT_TRUE(mean.pooling->normalize);
  EXPECT_EQ(mean.max_sequence_length, 16);  // tokenizer_config.json's model_max_length
  EXPECT_THAT(mean.tasks, ElementsAre("embed"));
  EXPECT_FALSE(mean.lower_case);

  const ModelInfo old = family("sentence_old_layout").info();
  EXPECT_EQ(old.max_sequence_length, 16);  // sentence_bert_config.json's max_seq_length
  EXPECT_TRUE(old.lower_case);

  const Model dense = family("sentence_max_dense_normalize");
  ASSERT_EQ(dense.info().pooling->dense.size(), 1u);
  EXPECT_EQ(dense.info().pooling->dense[0].out_features, 20);
  EXPECT_EQ(dense.info().pooling->dense[0].activation, "tanh");
  EXPECT_EQ(dense.info().max_sequence_length, 32);  // nothing is stated: the positions
  EXPECT_EQ(output_shapes(dense)["sentence_embedding"], "[batch, 20]");
}

TEST(Model, LoadsItsTokenizerWhenAsked) {
  EXPECT_EQ(Model::load(kBundled).tokenizer()->mask_token(), "[MASK]");
  EXPECT_GT(family("sentence_old_layout").tokenizer()->vocabulary_size(), 0u);
  const Model without = family("bert_model");
  EXPECT_THAT(refusal(ErrorCode::not_found, [&] { without.tokenizer(); }), HasSubstr("tests/data/families/bert_model"));
  EXPECT_EQ(Model::load("tests/data/families/bert_model", {.tokenizer = kBundled}).tokenizer()->mask_id(), 103);
  EXPECT_THAT(refusal(ErrorCode::not_found, [] { Model::random("1,8,2,8").tokenizer(); }), HasSubstr("random:1,8,2,8"));
}

TEST(Model, NamesMissingFolders) {
  EXPECT_THAT(refusal(ErrorCode::not_found, [] { Model::load("no/such/folder"); }), HasSubstr("no/such/folder"));
  EXPECT_THAT(refusal(ErrorCode::invalid_file, [] { Model::load("README.md"); }), HasSubstr("README.md: is no engine file"));
  EXPECT_THAT(refusal(ErrorCode::not_found, [] { Model::load("tests/data"); }), HasSubstr("tests/data/config.json"));
}

class Checkpoint : public testing::Test {
 protected:
  Checkpoint() : config_(models::config_of_spec("2,12,3,16")) {
    config_.vocabulary = 20;
    config_.max_position_embeddings = 10;
    config_.file = "config.json";
    tensors_ = models::draw_bert_weights(config_, 1);
  }

  void add(const std::string& name, const Shape& shape) {
    const std::vector<float> zeros(static_cast<size_t>(shape.elements()));
    tensors_[name] = {"F32", {shape.begin(), shape.end()}, Tensor::from_floats(shape, zeros)};
  }
  void add_masked_head() {
    config_.architecture = "BertForMaskedLM";
    add("cls.predictions.transform.dense.weight", {12, 12});
    add("cls.predictions.transform.dense.bias", {12});
    add("cls.predictions.transform.LayerNorm.weight", {12});
    add("cls.predictions.transform.LayerNorm.bias", {12});
    add("cls.predictions.bias", {20});
  }
  models::LoadedModel build() const { return build_model(config_, tensors_, "F"); }
  std::string refused(ErrorCode code) const {
    return refusal(code, [&] { build(); });
  }

  HuggingFaceConfig config_;
  TensorMap tensors_;
};

TEST_F(Checkpoint, EveryTensorIsNeededWithItsShape) {
  build();
  for (const auto& [name, stored] : TensorMap(tensors_)) {
    tensors_.erase(name);
    EXPECT_EQ(refused(ErrorCode::not_found), fmt::format("F: tensor '{}' {} is missing", name, stored.tensor->shape.to_string()));
    Shape larger = stored.tensor->shape;
    larger[0] += 1;
    add(name, larger);
    EXPECT_EQ(refused(ErrorCode::invalid_file), fmt::format("F: tensor '{}' has shape {}, expected {}", name, larger.to_string(),
                                                            stored.tensor->shape.to_string()));
    tensors_[name] = {"I8", stored.shape, Tensor{DType::i8, stored.tensor->shape, stored.tensor->data}};
    EXPECT_THAT(refused(ErrorCode::unsupported), HasSubstr(fmt::format("'{}' is stored as I8", name)));
    tensors_[name] = {"F8_E5M2", stored.shape, std::nullopt};
    EXPECT_THAT(refused(ErrorCode::unsupported), HasSubstr(fmt::format("'{}' is stored as F8_E5M2", name)));
    tensors_[name] = stored;
  }
}

TEST_F(Checkpoint, MissingTensorsAreNamedAsTheOthers) {
  TensorMap prefixed;
  for (const auto& [name, stored] : tensors_) prefixed["bert." + name] = stored;
  prefixed.erase("bert.encoder.layer.1.output.dense.bias");
  tensors_ = prefixed;
  EXPECT_EQ(refused(ErrorCode::not_found), "F: tensor 'bert.encoder.layer.1.output.dense.bias' [12] is missing");
}

TEST_F(Checkpoint, ListsSurplusTensors) {
  add("encoder.layer.2.output.dense.bias", {12});
  add("adapter.weight", {3});
  add("pooler.unused", {3});
  add("embeddings.position_ids", {1, 10});
  add("cls.seq_relationship.weight", {2, 12});
  EXPECT_THAT(build().info.surplus_tensors, ElementsAre("adapter.weight", "encoder.layer.2.output.dense.bias"));
}

TEST_F(Checkpoint, CountsParametersOnce) {
  add_masked_head();
  const int64_t encoder = 20 * 12 + 10 * 12 + 2 * 12 + 24 + 2 * (4 * (144 + 12) + 2 * 12 * 16 + 16 + 12 + 48);
  EXPECT_EQ(build().info.parameters, encoder + 144 + 12 + 24 + 20);
}

TEST_F(Checkpoint, DecoderIsTiedUnlessToldOrDifferent) {
  add_masked_head();
  const auto decoder = [&] {
    const Network network = build().network;
    return network.value(node_of(network, "cls.predictions.decoder").input(1)).name;
  };
  EXPECT_EQ(decoder(), "embeddings.word_embeddings.weight");
  tensors_["cls.predictions.decoder.weight"] = tensors_["embeddings.word_embeddings.weight"];
  EXPECT_EQ(decoder(), "embeddings.word_embeddings.weight");
  add("cls.predictions.decoder.weight", {20, 12});
  EXPECT_EQ(decoder(), "cls.predictions.decoder.weight");
  config_.tie_word_embeddings = false;
  EXPECT_EQ(decoder(), "cls.predictions.decoder.weight");
  tensors_.erase("cls.predictions.decoder.weight");
  EXPECT_EQ(refused(ErrorCode::not_found), "F: tensor 'cls.predictions.decoder.weight' [20, 12] is missing");
}

TEST_F(Checkpoint, PoolerIsAnOutputWhereItExists) {
  const auto outputs = [&] {
    const Network network = build().network;
    std::vector<std::string> names;
    for (const auto& output : network.outputs()) names.push_back(output.name);
    return names;
  };
  EXPECT_THAT(outputs(), ElementsAre("last_hidden_state"));
  add("pooler.dense.weight", {12, 12});
  add("pooler.dense.bias", {12});
  EXPECT_THAT(outputs(), ElementsAre("last_hidden_state", "pooler_output"));
}

TEST_F(Checkpoint, RefusesWhatItDoesNotKnow) {
  config_.heads = 5;
  EXPECT_THAT(refused(ErrorCode::unsupported), HasSubstr("field 'hidden_size': 12 is not a multiple of the 5"));
  config_.heads = 3;
  config_.hidden_act = "mish";
  EXPECT_THAT(refused(ErrorCode::unsupported), HasSubstr("config.json: field 'hidden_act': 'mish'"));
  config_.hidden_act = "gelu";
  for (const char* architecture : {"BertForMultipleChoice", "BertLMHeadModel", "BertForNextSentencePrediction", "T5Model"}) {
    config_.architecture = architecture;
    EXPECT_THAT(refused(ErrorCode::unsupported),
                HasSubstr(fmt::format("config.json: field 'architectures': '{}'", architecture)));
  }
  config_.architecture = "BertModel";
  config_.model_type = "t5";
  EXPECT_THAT(refused(ErrorCode::unsupported), HasSubstr("config.json: field 'model_type': 't5'"));
  config_.model_type = "";
  config_.architecture = "";
  EXPECT_THAT(refused(ErrorCode::unsupported), HasSubstr("field 'model_type' is missing"));
  config_.architecture = "RobertaModel";
  config_.model_type = "roberta";
  config_.max_position_embeddings = 2;
  EXPECT_THAT(refused(ErrorCode::invalid_file), HasSubstr("'max_position_embeddings'"));
}

TEST_F(Checkpoint, CrossEncoderSaysHowToScore) {
  config_.architecture = "BertForSequenceClassification";
  config_.labels = {"score"};
  add("pooler.dense.weight", {12, 12});
  add("pooler.dense.bias", {12});
  add("classifier.weight", {1, 12});
  add("classifier.bias", {1});
  EXPECT_EQ(build().info.score_activation, "sigmoid");
  EXPECT_EQ(build().info.problem_type, ProblemType::multi_label);  // Hugging Face's pipeline takes the sigmoid
  config_.score_activation = "torch.nn.modules.linear.Identity";
  EXPECT_EQ(build().info.score_activation, "identity");
  config_.score_activation = "torch.nn.modules.activation.ReLU";
  EXPECT_THAT(refused(ErrorCode::unsupported), HasSubstr("ReLU"));
  config_.problem_type = "ordinal";
  EXPECT_THAT(refused(ErrorCode::unsupported), HasSubstr("'problem_type': 'ordinal'"));
}

// The buckets that transformers' MPNetEncoder.relative_position_bucket gives.
TEST(RelativeBias, EqualsTransformersBuckets) {
  const std::vector<std::pair<int64_t, float>> buckets = {
      {-400, 15}, {-128, 15}, {-127, 15}, {-91, 15}, {-90, 14}, {-64, 14}, {-32, 12}, {-16, 10}, {-12, 9},
      {-11, 8},   {-8, 8},    {-7, 7},    {-1, 1},   {0, 0},    {1, 17},   {7, 23},   {8, 24},   {10, 24},
      {11, 24},   {12, 25},   {15, 25},   {16, 26},  {22, 26},  {23, 27},  {31, 27},  {32, 28},  {45, 28},
      {46, 29},   {63, 29},   {64, 30},   {90, 30},  {91, 31},  {127, 31}, {128, 31}, {400, 31}};
  std::vector<float> table;
  for (int bucket = 0; bucket < models::kRelativeBuckets; ++bucket) {
    table.push_back(static_cast<float>(bucket));
    table.push_back(static_cast<float>(-bucket));
  }
  constexpr int64_t kPositions = 401;
  const Tensor bias = models::relative_bias(Tensor::from_floats({models::kRelativeBuckets, 2}, table), kPositions);
  ASSERT_EQ(bias.shape, (Shape{2, 2 * kPositions - 1}));
  for (const auto& [distance, bucket] : buckets) {
    EXPECT_EQ(bias.view().as<float>()[kPositions - 1 + distance], bucket) << distance;
    EXPECT_EQ(bias.view().as<float>()[3 * kPositions - 2 + distance], -bucket) << distance;
  }
}

TEST(RandomModel, HasTheSizesAskedFor) {
  const Model model = Model::random("3,24,4,40");
  EXPECT_EQ(model.info().source, "random:3,24,4,40");
  EXPECT_EQ(model.info().layers, 3);
  EXPECT_EQ(model.info().head_dim, 6);
  EXPECT_EQ(model.info().ffn, 40);
  EXPECT_THAT(output_shapes(model), ElementsAre(testing::Pair("last_hidden_state", "[batch, sequence, 24]")));
  EXPECT_EQ(models::config_of_spec("large").hidden_size, 1024);
  EXPECT_EQ(models::config_of_spec("base").layers, 12);
  EXPECT_EQ(models::config_of_spec("minilm").intermediate_size, 1536);
  for (const char* spec : {"", "huge", "1,2,3", "1,8,2,8,9", "1,8,2,8,", "1,8,3,8", "-1,8,2,8", "1,0,2,8", "1,8,0,8",
                           "1,8,2,99999999", "1 8 2 8", "99999999999999999999,8,2,8"}) {
    EXPECT_THAT(refusal(ErrorCode::invalid_argument, [&] { models::config_of_spec(spec); }),
                HasSubstr(fmt::format("'{}'", spec)));
  }
}

TEST(RandomModel, DrawsAsATrainedModelHas) {
  const HuggingFaceConfig config = models::config_of_spec("1,768,12,512");
  const TensorMap tensors = models::draw_bert_weights(config, 7);
  const auto statistics = [&](const char* name) {
    const Tensor& tensor = *tensors.at(name).tensor;
    double sum = 0, squares = 0;
    const int64_t count = tensor.shape.elements();
    for (int64_t i = 0; i < count; ++i) {
      const double value = tensor.view().as<float>()[i];
      sum += value;
      squares += value * value;
    }
    return std::pair{sum / static_cast<double>(count), std::sqrt(squares / static_cast<double>(count))};
  };
  const auto [mean, deviation] = statistics("encoder.layer.0.attention.self.query.weight");
  EXPECT_NEAR(mean, 0, 2e-4);
  EXPECT_NEAR(deviation, 0.04, 2e-4);
  const float* gains = tensors.at("encoder.layer.0.output.LayerNorm.weight").tensor->view().as<float>();
  const auto outliers = std::count_if(gains, gains + 768, [](float gain) { return std::abs(gain - 0.9f) > 0.5f; });
  EXPECT_GE(outliers, 1);
  EXPECT_LE(outliers, 20);
}

TEST(RandomModel, IsMadeByItsSeed) {
  const HuggingFaceConfig config = models::config_of_spec("1,8,2,8");
  const auto bytes = [&](uint64_t seed, const char* name) {
    const TensorMap tensors = models::draw_bert_weights(config, seed);
    const Tensor& tensor = *tensors.at(name).tensor;
    return std::string(static_cast<const char*>(tensor.data.get()), tensor.bytes());
  };
  const char* query = "encoder.layer.0.attention.self.query.weight";
  EXPECT_EQ(bytes(1, query), bytes(1, query));
  EXPECT_NE(bytes(1, query), bytes(2, query));
  EXPECT_NE(bytes(1, query), bytes(1, "encoder.layer.0.attention.self.key.weight"));
}

}  // namespace
}  // namespace bertie
