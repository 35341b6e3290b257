// Losses against relative entropies in plain loops, and the choice of layers against its own promise.
#include "calibration/sensitivity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/message_of_test.h"
#include "bertie/bertie.h"
#include "calibration/calibrate.h"

namespace bertie::calibration {
namespace {

using testing::HasSubstr;

std::vector<SampledText> texts() {
  return {{1, "the river runs past the old town"}, {3, "a"}, {4, "seven people saw it, and none of them spoke of it again"}};
}

struct Calibrated {
  Model model;
  std::shared_ptr<Calibration> calibration;
};

Calibrated calibrated(const std::string& name) {
  Model model = Model::load("tests/data/tasks/" + name);
  CalibrateOptions options;
  options.threads = 1;
  auto calibration = std::make_shared<Calibration>(calibrate(model, texts(), options).calibration);
  return {std::move(model), std::move(calibration)};
}

CalibrateOptions options_with(double max_loss, uint64_t mask_every = 8) {
  CalibrateOptions options;
  options.max_loss = max_loss;
  options.mask_every = mask_every;
  options.threads = 1;
  return options;
}

// All logits of a text whose every word is masked.
std::vector<float> masked_logits(const Calibrated& side, const SampledText& text, bool int8) {
  EngineOptions options;
  options.threads = 1;
  options.outputs = {"logits"};
  if (int8) {
    options.precision = "int8";
    options.calibration = side.calibration;
  }
  Session session(Engine::build(side.model.network(), options));
  std::vector<int32_t> ids = side.model.tokenizer()->encode(text.text).ids;
  std::fill(ids.begin() + 1, ids.end() - 1, *side.model.tokenizer()->mask_id());
  const std::vector<int32_t> starts = {0, static_cast<int32_t>(ids.size())};
  Batch batch;
  batch.token_ids = ids;
  batch.cumulative_lengths = starts;
  session.run(batch);
  const TensorView view = session.output("logits");
  return {view.as<float>(), view.as<float>() + view.shape.elements()};
}

std::vector<double> softmax(const float* logits, size_t width) {
  std::vector<double> p(width);
  double sum = 0;
  for (size_t i = 0; i < width; ++i) sum += p[i] = std::exp(static_cast<double>(logits[i]));
  for (double& value : p) value /= sum;
  return p;
}

TEST(Sensitivity, LossIsTheRelativeEntropyOfMaskedWords) {
  const Calibrated side = calibrated("bert_masked");
  double entropy = 0, loss = 0;
  for (const SampledText& text : texts()) {
    const std::vector<int32_t> ids = side.model.tokenizer()->encode(text.text).ids;
    const std::vector<float> exact = masked_logits(side, text, false), found = masked_logits(side, text, true);
    const size_t width = exact.size() / ids.size();
    for (size_t at = 1; at + 1 < ids.size(); ++at) {
      const std::vector<double> p = softmax(exact.data() + at * width, width), q = softmax(found.data() + at * width, width);
      for (size_t i = 0; i < width; ++i) entropy += p[i] * std::log(p[i] / q[i]);
      loss -= std::log(p[static_cast<size_t>(ids[at])]);
    }
  }
  const Sensitivity measured = measure_sensitivity(side.model, side.calibration, texts(), options_with(0, 1));
  EXPECT_GT(measured.all, 0);
  EXPECT_NEAR(measured.all, entropy / loss, 1e-3 * measured.all + 1e-10);
  EXPECT_TRUE(measured.kept.empty());
}

TEST(Sensitivity, EveryLayerTheCostliestFirst) {
  for (const char* name : {"bert_masked", "bert_classify", "bert_tag", "bert_answer", "bert_embed"}) {
    const Calibrated side = calibrated(name);
    const Sensitivity measured = measure_sensitivity(side.model, side.calibration, texts(), options_with(0));
    const bool pooler = side.calibration->layers.contains("pooler.dense") && std::string(name) != "bert_classify";
    ASSERT_EQ(measured.layers.size(), side.calibration->layers.size() - (pooler ? 1 : 0)) << name;
    for (size_t i = 0; i < measured.layers.size(); ++i) {
      EXPECT_TRUE(side.calibration->layers.contains(measured.layers[i].layer));
      EXPECT_TRUE(std::isfinite(measured.layers[i].loss) && measured.layers[i].loss >= 0) << name;
      EXPECT_LE(measured.layers[i].loss, measured.layers[i > 0 ? i - 1 : 0].loss);
    }
    EXPECT_GT(measured.layers[0].loss, 0) << name;
  }
}

TEST(Sensitivity, KeepsTheFewestLayersThatMeetTheBound) {
  const Calibrated side = calibrated("bert_masked");
  const auto measure = [&](double bound) {
    return measure_sensitivity(side.model, side.calibration, texts(), options_with(bound));
  };
  const Sensitivity none = measure(1);
  EXPECT_TRUE(none.kept.empty());
  EXPECT_EQ(none.loss, none.all);
  const Sensitivity all = measure(1e-15);
  EXPECT_EQ(all.kept.size(), side.calibration->layers.size());
  EXPECT_EQ(all.loss, 0);
  const double bound = none.all / 2;
  const Sensitivity some = measure(bound);
  EXPECT_LE(some.loss, bound);
  ASSERT_GT(some.kept.size(), 0u);
  ASSERT_LT(some.kept.size(), all.kept.size());
  for (size_t i = 0; i < some.kept.size(); ++i) EXPECT_EQ(some.kept[i], some.layers[i].layer);

  // Precision `auto` runs them so.
  for (size_t i = 0; i < some.kept.size(); ++i) side.calibration->kept[some.kept[i]] = some.layers[i].loss;
  EngineOptions options;
  options.threads = 1;
  options.precision = "auto";
  EXPECT_THAT(message_of([&] { Engine::build(side.model.network(), options); }), HasSubstr("--max-loss"));
  options.calibration = side.calibration;
  EXPECT_THAT(message_of([&] { Engine::build(side.model.network(), options); }), HasSubstr("--max-loss"));
  side.calibration->max_loss = bound;
  const auto engine = Engine::build(side.model.network(), options);
  size_t eight = 0, floats = 0;
  for (const StepInfo& step : engine->steps()) {
    eight += step.op == "int8_linear" ? 1 : 0;
    floats += step.op == "linear" && side.calibration->kept.contains(step.name) ? 1 : 0;
  }
  EXPECT_EQ(floats, some.kept.size());
  EXPECT_EQ(eight + floats, side.calibration->layers.size());
}

TEST(Sensitivity, SaysWhatIsWrong) {
  const Calibrated side = calibrated("bert_masked");
  EXPECT_THAT(message_of([&] { measure_sensitivity(side.model, side.calibration, {}, options_with(0)); }), HasSubstr("no text"));
  CalibrateOptions options = options_with(0);
  options.cancelled = [] { return true; };
  EXPECT_THAT(message_of([&] { measure_sensitivity(side.model, side.calibration, texts(), options); }), HasSubstr("cancelled"));
}

}  // namespace
}  // namespace bertie::calibration
