// What compare reports, against the same figures by plain loops over one sequence at a time, and against hand-made differences.
#include "calibration/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "base/message_of_test.h"
#include "bertie/bertie.h"
#include "calibration/layer_noise.h"
#include "calibration/layer_outputs.h"
#include "calibration/masked_words.h"

namespace bertie::calibration {
namespace {

using testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Side side(const std::string& name, const std::string& precision = "fp32") {
  TaskOptions options;
  options.precision = precision;
  options.threads = 1;
  return {name + " in " + precision, Model::load("tests/data/tasks/" + name), options};
}

std::vector<SampledText> texts() {
  return {{1, "the river runs past the old town"}, {3, "a"}, {4, "seven people saw it, and none of them spoke of it again"}};
}

TEST(Compare, ScoresOfAWordAreThoseOfTheSoftmax) {
  const std::vector<float> logits = {std::log(1.0F), std::log(5.0F), std::log(2.0F), std::log(2.0F)};
  const WordScore score = score_word(logits, 2);
  EXPECT_EQ(score.best, 1);
  EXPECT_NEAR(score.lead, 0.3, 1e-7);
  EXPECT_NEAR(score.loss, std::log(5.0), 1e-7);
  EXPECT_EQ(score_word(std::vector<float>{3, 7, 7}, 0).best, 1);
  EXPECT_EQ(score_word(std::vector<float>{3, 7, 7}, 0).lead, 0);
  EXPECT_TRUE(std::isnan(score_word(std::vector<float>{3, NAN, 7}, 0).loss));
  EXPECT_FALSE(std::isfinite(score_word(std::vector<float>{3, INFINITY, 7}, 0).loss));
}

TEST(Compare, SignalToNoiseAndCosine) {
  SignalToNoise sum;
  sum.add(std::vector<float>{3}, std::vector<float>{3});
  EXPECT_EQ(sum.decibels(), kInfinity);
  sum.add(std::vector<float>{4}, std::vector<float>{4.5});
  EXPECT_DOUBLE_EQ(sum.decibels(), 20);  // 25 to 0.25
  const std::vector<float> x = {1, 2, -2}, y = {2, 1, 2};
  EXPECT_EQ(cosine(x, x), 1);
  EXPECT_EQ(cosine(x, y), 0);
  EXPECT_TRUE(std::isnan(cosine(x, std::vector<float>(3, 0))));
}

TEST(Compare, SampleIsBoundedSeededAndFair) {
  const auto lines = [](size_t capacity, uint64_t seed, size_t count) {
    TextSample sample(capacity, seed);
    for (size_t line = 1; line <= count; ++line) sample.offer(line, line % 5 == 0 ? " \t\r" : "text " + std::to_string(line));
    EXPECT_EQ(sample.offered(), count - count / 5);
    std::vector<size_t> kept;
    for (const SampledText& text : sample.take()) {
      EXPECT_EQ(text.text, "text " + std::to_string(text.line));
      kept.push_back(text.line);
    }
    EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end()));
    return kept;
  };
  EXPECT_EQ(lines(10, 0, 0), std::vector<size_t>());
  EXPECT_EQ(lines(10, 0, 6), (std::vector<size_t>{1, 2, 3, 4, 6}));
  EXPECT_EQ(lines(4, 0, 5).size(), 4u);
  EXPECT_EQ(lines(50, 7, 1000), lines(50, 7, 1000));
  EXPECT_NE(lines(50, 7, 1000), lines(50, 8, 1000));
  size_t late = 0;  // of 200 samples of 8 in 80 texts half are from the second half: 800, deviation 19
  for (uint64_t seed = 0; seed < 200; ++seed) {
    for (const size_t line : lines(8, seed, 100)) late += line > 50 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(late), 800, 100);
}

TEST(Compare, LastLayerIsTheLastHiddenState) {
  for (const char* name : {"bert_model", "distilbert_model", "albert_model_groups", "mpnet_model"}) {
    const Model model = Model::load(std::string("tests/data/families/") + name);
    const LayerOutputs layers = with_layer_outputs(model.network());
    ASSERT_EQ(static_cast<int64_t>(layers.outputs.size()), model.info().layers) << name;
    EXPECT_EQ(std::set<std::string>(layers.nodes.begin(), layers.nodes.end()).size(), layers.nodes.size()) << name;
    EngineOptions options;
    options.threads = 1;
    options.outputs = {layers.outputs.back(), "last_hidden_state"};
    Session session(Engine::build(layers.network, options));
    const std::vector<int32_t> ids = {2, 7, 5, 3}, starts = {0, 4};
    Batch batch;
    batch.token_ids = ids;
    batch.cumulative_lengths = starts;
    session.run(batch);
    const TensorView layer = session.output(layers.outputs.back()), hidden = session.output("last_hidden_state");
    ASSERT_EQ(layer.shape, hidden.shape);
    const auto count = static_cast<size_t>(hidden.shape.elements());
    EXPECT_EQ(std::vector<float>(layer.as<float>(), layer.as<float>() + count),
              std::vector<float>(hidden.as<float>(), hidden.as<float>() + count));
  }
  EXPECT_TRUE(with_layer_outputs(Model::load("tests/data/families/bert_model_no_layers").network()).outputs.empty());
}

TEST(Compare, AModelAgreesWithItself) {
  for (const char* name : {"bert_masked", "roberta_masked", "bert_classify", "bert_multi_label", "bert_rerank", "bert_tag",
                           "bert_answer", "bert_embed"}) {
    const Comparison found = compare(side(name), side(name), texts());
    for (const char* figure : {"agreement", "agreement_led", "cosine", "cosine_min"}) {
      EXPECT_EQ(found.figure(figure).value_or(1), 1) << name << " " << figure;
    }
    for (const char* figure : {"loss", "difference"}) {
      EXPECT_EQ(found.figure(figure).value_or(0), 0) << name << " " << figure;
    }
    EXPECT_GT(found.figures.size(), 1u) << name;
    ASSERT_EQ(found.layers.size(), 2u) << name;
    EXPECT_EQ(*found.figure("snr"), kInfinity) << name;
    EXPECT_EQ(found.first_fallen, std::nullopt) << name;
  }
}

// One sequence at a time, all logits computed.
std::vector<std::vector<float>> masked_logits(const Side& side, std::vector<int32_t>& stood) {
  EngineOptions options;
  options.precision = side.options.precision;
  options.outputs = {"logits"};
  options.threads = 1;
  Session session(Engine::build(side.model.network(), options));
  std::vector<std::vector<float>> result;
  stood.clear();
  for (const SampledText& text : texts()) {
    const Encoding encoding = side.model.tokenizer()->encode(text.text);
    for (size_t at = 1; at + 1 < encoding.size(); ++at) {
      std::vector<int32_t> ids = encoding.ids;
      stood.push_back(std::exchange(ids[at], *side.model.tokenizer()->mask_id()));
      const std::vector<int32_t> starts = {0, static_cast<int32_t>(ids.size())};
      Batch batch;
      batch.token_ids = ids;
      batch.cumulative_lengths = starts;
      session.run(batch);
      const TensorView logits = session.output("logits");
      const float* row = logits.as<float>() + static_cast<int64_t>(at) * logits.shape[1];
      result.emplace_back(row, row + logits.shape[1]);
    }
  }
  return result;
}

TEST(Compare, MaskedWordsAreThoseOfPlainLoops) {
  const Side a = side("bert_masked"), b = side("bert_masked", "int8");
  std::vector<int32_t> stood;
  const auto x = masked_logits(a, stood), y = masked_logits(b, stood);
  const auto softmax = [](const std::vector<float>& logits) {
    std::vector<double> scores;
    double sum = 0;
    for (const float logit : logits) scores.push_back(std::exp(static_cast<double>(logit))), sum += scores.back();
    for (double& score : scores) score /= sum;
    return scores;
  };
  double agreed = 0, led = 0, led_agreed = 0, loss_a = 0, loss_b = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    std::vector<double> p = softmax(x[i]), q = softmax(y[i]);
    loss_a -= std::log(p[static_cast<size_t>(stood[i])]);
    loss_b -= std::log(q[static_cast<size_t>(stood[i])]);
    const bool agree = std::max_element(p.begin(), p.end()) - p.begin() == std::max_element(q.begin(), q.end()) - q.begin();
    std::sort(p.rbegin(), p.rend());
    agreed += agree;
    led += p[0] - p[1] > 0.01;
    led_agreed += agree && p[0] - p[1] > 0.01;
  }
  const auto count = static_cast<double>(x.size());
  CompareOptions options;
  options.lead = 0.01;
  const Comparison found = compare(a, b, texts(), options);
  EXPECT_EQ(found.task, "fill-mask");
  EXPECT_EQ(found.texts, 3u);
  EXPECT_EQ(found.counted, x.size());
  EXPECT_EQ(*found.figure("agreement"), agreed / count);
  EXPECT_EQ(*found.figure("led"), led);
  ASSERT_GT(led, 0);
  EXPECT_EQ(*found.figure("agreement_led"), led_agreed / led);
  EXPECT_NEAR(*found.figure("loss_a"), loss_a / count, 1e-5);
  EXPECT_NEAR(*found.figure("loss_b"), loss_b / count, 1e-5);
  EXPECT_NEAR(*found.figure("loss"), (loss_b - loss_a) / count, 1e-5);
  EXPECT_GT(std::abs(*found.figure("loss")), 1e-5) << "eight bits must differ, or this test sees nothing";

  options.lead = 1;  // no word leads
  EXPECT_EQ(compare(a, b, texts(), options).figure("agreement_led"), std::nullopt);
}

TEST(Compare, EmbeddingsByTheirCosine) {
  const Side a = side("bert_embed"), b = side("bert_embed", "int8");
  EmbedOptions options;
  options.threads = 1;
  Embed embed_a(a.model, options);
  options.precision = "int8";
  Embed embed_b(b.model, options);
  double sum = 0, least = 1;
  for (const SampledText& text : texts()) {
    const auto x = embed_a.run(text.text), y = embed_b.run(text.text);  // of length 1
    double product = 0;
    for (size_t i = 0; i < x.size(); ++i) product += static_cast<double>(x[i]) * y[i];
    sum += product;
    least = std::min(least, product);
  }
  const Comparison found = compare(a, b, texts());
  EXPECT_NEAR(*found.figure("cosine"), sum / 3, 1e-6);
  EXPECT_NEAR(*found.figure("cosine_min"), least, 1e-6);
  EXPECT_LT(*found.figure("cosine_min"), *found.figure("cosine"));
}

TEST(Compare, TheFirstLayerThatDiffersIsFound) {
  Side b = side("bert_masked");
  b.options.layer_precision = {"*.layer.1.output.dense*=int8"};
  CompareOptions options;
  options.fallen = 1000;
  const Comparison found = compare(side("bert_masked"), b, texts(), options);
  ASSERT_EQ(found.layers.size(), 2u);
  EXPECT_EQ(found.layers[0].decibels, kInfinity);
  EXPECT_LT(found.layers[1].decibels, 80);
  EXPECT_GT(found.layers[1].decibels, 10);
  EXPECT_EQ(*found.figure("snr"), found.layers[1].decibels);
  EXPECT_EQ(found.first_fallen, 1u);
  // A pattern of the head alone: its steps must be there while layers are compared.
  b.options.layer_precision = {"cls.*dense*=int8"};
  EXPECT_EQ(*compare(side("bert_masked"), b, texts(), options).figure("snr"), kInfinity);
}

TEST(Compare, RefusesWhatCannotBeCompared) {
  const auto message = [](const Side& a, const Side& b, const std::vector<SampledText>& data) {
    return message_of([&] { compare(a, b, data); });
  };
  EXPECT_THAT(message(side("bert_masked"), side("bert_masked"), {}), HasSubstr("no text"));
  EXPECT_THAT(message(side("bert_masked"), side("bert_masked"), {{2, "[MASK]"}}), HasSubstr("no text has a word to mask"));
  EXPECT_THAT(message(side("bert_masked"), side("bert_classify"), texts()), HasSubstr("for fill-mask"));
  EXPECT_THAT(message(side("bert_masked"), side("roberta_masked"), texts()), HasSubstr("vocabularies"));
  std::string words;
  for (int i = 0; i < 200; ++i) words += "a ";
  EXPECT_THAT(message(side("bert_masked"), side("bert_masked"), {{1, "a"}, {9, words}}), HasSubstr("line 9: the text has"));
  Side a = side("bert_masked"), b = side("bert_masked");
  a.options.truncate = b.options.truncate = true;
  const std::vector<SampledText> long_text = {{9, words}};
  EXPECT_EQ(compare(a, b, long_text).counted, 126u);  // 128 positions, two of them special
  CompareOptions options;
  options.cancelled = [] { return true; };
  EXPECT_THAT(message_of([&] { compare(a, b, texts(), options); }), HasSubstr("cancelled"));
}

}  // namespace
}  // namespace bertie::calibration
