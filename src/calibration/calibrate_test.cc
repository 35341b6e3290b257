// What calibrate observes, against the same tensors read one sequence at a time; and what it makes of them.
#include "calibration/calibrate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/message_of_test.h"
#include "bertie/bertie.h"
#include "calibration/layer_inputs.h"

namespace bertie::calibration {
namespace {

using testing::HasSubstr;

Model model_of(const std::string& name) { return Model::load("tests/data/tasks/" + name); }

std::vector<SampledText> texts() {
  return {{1, "the river runs past the old town"}, {3, "a"}, {4, "seven people saw it, and none of them spoke of it again"}};
}

CalibrateOptions options_with(int threads, uint64_t mask_every = 8) {
  CalibrateOptions options;
  options.threads = threads;
  options.mask_every = mask_every;
  return options;
}

bool same(const TensorCalibration& a, const TensorCalibration& b) {
  return a.scale == b.scale && a.migration == b.migration && a.shift == b.shift && a.mean == b.mean && a.lowest == b.lowest &&
         a.highest == b.highest && a.other_neighbours == b.other_neighbours;
}

// All values of each layer input, one sequence at a time.
std::vector<std::vector<float>> observed(const Model& model, const LayerInputs& layers) {
  EngineOptions options;
  options.threads = 1;
  for (const LayerInput& input : layers.inputs) options.outputs.push_back(input.output);
  Session session(Engine::build(layers.network, options));
  std::vector<std::vector<float>> result(layers.inputs.size());
  for (const SampledText& text : texts()) {
    const Encoding encoding = model.tokenizer()->encode(text.text);
    const std::vector<int32_t> starts = {0, static_cast<int32_t>(encoding.size())};
    Batch batch;
    batch.token_ids = encoding.ids;
    batch.cumulative_lengths = starts;
    session.run(batch);
    for (size_t i = 0; i < result.size(); ++i) {
      const TensorView view = session.output(layers.inputs[i].output);
      result[i].insert(result[i].end(), view.as<float>(), view.as<float>() + view.shape.elements());
    }
  }
  return result;
}

TEST(Calibrate, ObservesWhatTheLayersRead) {
  for (const char* name : {"bert_masked", "roberta_masked", "bert_classify", "bert_tag", "bert_answer", "bert_embed"}) {
    const Model model = model_of(name);
    const LayerInputs layers = with_layer_inputs(model.network());
    const CalibrationRun run = calibrate(model, texts(), options_with(1, 0));
    const std::vector<std::vector<float>> values = observed(model, layers);
    ASSERT_EQ(run.tensors.size(), layers.inputs.size()) << name;
    EXPECT_EQ(run.masked, 0u);
    for (size_t i = 0; i < values.size(); ++i) {
      const TensorCalibration& entry = run.calibration.layers.at(layers.inputs[i].layers[0]);
      EXPECT_EQ(entry.lowest, *std::min_element(values[i].begin(), values[i].end()));
      EXPECT_EQ(entry.highest, *std::max_element(values[i].begin(), values[i].end()));
      EXPECT_EQ(run.tensors[i].histogram.total(), values[i].size());
      const auto width = static_cast<size_t>(layers.inputs[i].width);
      ASSERT_EQ(entry.mean.size(), width);
      for (size_t k = 0; k < width; ++k) {
        double sum = 0;
        for (size_t at = k; at < values[i].size(); at += width) {
          sum += values[i][at];
          // The smallest to the largest integer reach every value: none is off by more than half a step.
          const double migration = entry.migration.empty() ? 1 : entry.migration[k],
                       shift = entry.shift.empty() ? 0 : entry.shift[k];
          const double step = entry.scale * migration, q = std::nearbyint((values[i][at] - shift) / step);
          EXPECT_LE(std::abs(q), 127);
          EXPECT_LE(std::abs(q * step + shift - values[i][at]), 0.501 * step);
        }
        EXPECT_NEAR(entry.mean[k], sum * static_cast<double>(width) / static_cast<double>(values[i].size()),
                    1e-6 + 1e-5 * std::abs(entry.mean[k]));
      }
    }
  }
}

TEST(Calibrate, EveryLayerThatRunsInEightBitsHasAnEntry) {
  for (const char* name : {"bert_masked", "bert_rerank"}) {
    const Model model = model_of(name);
    EngineOptions options;
    options.precision = "int8";
    options.threads = 1;
    std::set<std::string> layers, entries;
    const auto engine = Engine::build(model.network(), options);
    for (const StepInfo& step : engine->steps())
      if (step.op == "int8_linear") layers.insert(step.name);
    const CalibrationRun run = calibrate(model, texts(), options_with(1));
    for (const auto& [layer, entry] : run.calibration.layers) entries.insert(layer);
    EXPECT_EQ(layers, entries) << name;
    EXPECT_FALSE(layers.empty());
  }
}

TEST(Calibrate, ThreadsDoNotMatterAndSeedsDo) {
  const Model model = model_of("bert_masked");
  for (const char* method : {"minmax", "percentile", "mse", "entropy"}) {
    CalibrateOptions options = options_with(1, 3);
    options.calibrator = find_calibrator(method);
    const CalibrationRun one = calibrate(model, texts(), options);
    options.threads = 3;
    const CalibrationRun three = calibrate(model, texts(), options);
    options.seed = 5;
    const CalibrationRun other = calibrate(model, texts(), options);
    EXPECT_EQ(one.calibration.method, method);
    EXPECT_EQ(one.calibration.data_hash, three.calibration.data_hash);
    EXPECT_EQ(one.masked, three.masked);
    EXPECT_GE(one.masked, 3u);
    bool differs = false;
    for (const auto& [layer, entry] : one.calibration.layers) {
      EXPECT_TRUE(same(entry, three.calibration.layers.at(layer))) << layer;
      differs = differs || !same(entry, other.calibration.layers.at(layer));
    }
    EXPECT_TRUE(differs);  // other words are masked
  }
}

TEST(Calibrate, LayersOfOneTensorAreOneInput) {
  Network network;
  const ValueId ids = network.add_input("input_ids", DType::i64, {"batch", "sequence"});
  const auto constant = [&](const std::string& name, const Shape& shape) {
    return network.add_constant(name,
                                Tensor::from_floats(shape, std::vector<float>(static_cast<size_t>(shape.elements()), 0.5f)));
  };
  const ValueId x = network.add_embedding(constant("table", {5, 4}), ids, "embedding");
  const ValueId a = network.add_linear(x, constant("a", {3, 4}), kNone, "first");
  const ValueId b = network.add_linear(x, constant("b", {2, 4}), kNone, "second");
  const ValueId c = network.add_linear(a, constant("c", {2, 3}), kNone, "third");
  network.add_output("b", b);
  network.add_output("c", c);
  const LayerInputs layers = with_layer_inputs(network);
  ASSERT_EQ(layers.inputs.size(), 2u);
  EXPECT_EQ(layers.inputs[0].layers, (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(layers.inputs[0].width, 4);
  EXPECT_EQ(layers.inputs[1].layers, (std::vector<std::string>{"third"}));
}

TEST(Calibrate, ACalibratorOfOnesOwn) {
  struct Share : Calibrator {
    explicit Share(double share) : share(share) {}
    std::string name() const override { return "share"; }
    double threshold(const Histogram& histogram) const override { return histogram.range() * share; }
    double share;
  };
  CalibrateOptions options = options_with(1);
  const Model model = model_of("bert_masked");
  const CalibrationRun whole = calibrate(model, texts(), options);
  options.calibrator = std::make_shared<Share>(0.5);
  const CalibrationRun half = calibrate(model, texts(), options);
  EXPECT_EQ(half.calibration.method, "share");
  for (const auto& [layer, entry] : whole.calibration.layers)
    EXPECT_FLOAT_EQ(half.calibration.layers.at(layer).scale, entry.scale / 2) << layer;
  for (const double share : {0.0, -1.0, std::nan(""), HUGE_VAL, 1e300}) {
    options.calibrator = std::make_shared<Share>(share);
    EXPECT_THAT(message_of([&] { calibrate(model, texts(), options); }),
                AllOf(HasSubstr("calibrator 'share': layer '"), HasSubstr("no magnitude")));
  }
}

// The one that programs call.
TEST(Calibrate, FromAProgram) {
  const Model model = model_of("bert_masked");
  const std::vector<std::string> lines = {texts()[0].text, " \t", texts()[1].text, texts()[2].text};
  CalibrateOptions options = options_with(1);
  const Calibration calibration = bertie::calibrate(model, lines, options);
  const CalibrationRun run = calibrate(model, texts(), options);
  ASSERT_EQ(calibration.layers.size(), run.calibration.layers.size());
  for (const auto& [layer, entry] : run.calibration.layers) EXPECT_TRUE(same(entry, calibration.layers.at(layer))) << layer;
  EXPECT_EQ(calibration.texts, 3u);
  EXPECT_EQ(calibration.data_hash, run.calibration.data_hash);
  EXPECT_TRUE(calibration.kept.empty());
  options.max_loss = 1e-12;
  const Calibration kept = bertie::calibrate(model, lines, options);
  EXPECT_EQ(kept.max_loss, 1e-12);
  EXPECT_EQ(kept.kept.size(), kept.layers.size());
  const std::vector<std::string> nothing = {"", " "}, broken = {"a", "\xff"};
  EXPECT_THAT(message_of([&] { bertie::calibrate(model, nothing, options); }), HasSubstr("no text"));
  EXPECT_THAT(message_of([&] { bertie::calibrate(model, {}, options); }), HasSubstr("no text"));
  EXPECT_THAT(message_of([&] { bertie::calibrate(model, broken, options); }), HasSubstr("line 2"));
}

TEST(Calibrate, OtherNeighboursAreOfEachLayersRows) {
  const Model model = model_of("bert_masked");
  const CalibrationRun run = calibrate(model, texts(), options_with(1));
  size_t others = 0;
  for (const LayerInput& input : with_layer_inputs(model.network()).inputs) {
    for (const std::string& layer : input.layers) {
      const TensorCalibration& entry = run.calibration.layers.at(layer);
      EXPECT_FALSE(entry.other_neighbours.empty());
      for (const std::vector<int32_t>& columns : entry.other_neighbours) {
        others += columns.size();
        EXPECT_TRUE(std::is_sorted(columns.begin(), columns.end()));
        if (!columns.empty()) {
          EXPECT_LT(columns.back(), input.width);
        }
      }
    }
  }
  EXPECT_GT(others, 0u);
  SchemeOptions nearest;
  nearest.other_neighbours = false;
  const CalibrationRun plain = calibrate(model, texts(), options_with(1), nearest);
  for (const auto& [layer, entry] : plain.calibration.layers) EXPECT_TRUE(entry.other_neighbours.empty());

  // Of another model's shape: refused when an engine is built.
  EngineOptions options;
  options.threads = 1;
  options.precision = "int8";
  for (const bool column : {false, true}) {
    auto broken = std::make_shared<Calibration>(run.calibration);
    auto& lists = broken->layers.begin()->second.other_neighbours;
    column ? lists[0].push_back(1 << 20) : lists.push_back({});
    options.calibration = broken;
    EXPECT_THAT(message_of([&] { Engine::build(model.network(), options); }),
                AllOf(HasSubstr(broken->layers.begin()->first), HasSubstr("other_neighbours")));
  }
}

TEST(Calibrate, SaysWhatIsWrong) {
  const Model model = model_of("bert_masked");
  EXPECT_THAT(message_of([&] { calibrate(model, std::vector<SampledText>(), options_with(1)); }), HasSubstr("no text"));
  const std::vector<SampledText> long_text = {{7, std::string(4000, 'a') + std::string(2000, '.')}};
  EXPECT_THAT(message_of([&] { calibrate(model, long_text, options_with(1)); }), HasSubstr("line 7"));
  CalibrateOptions options = options_with(1);
  options.cancelled = [] { return true; };
  EXPECT_THAT(message_of([&] { calibrate(model, texts(), options); }), HasSubstr("cancelled"));
}

}  // namespace
}  // namespace bertie::calibration
