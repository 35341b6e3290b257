#include "calibration/sensitivity.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "calibration/calibrate.h"
#include "calibration/encode_texts.h"
#include "calibration/masked_words.h"
#include "calibration/model_task.h"
#include "calibration/paired_run.h"

namespace bertie::calibration {
namespace {

// log(sum of exp), in float64.
double log_sum(std::span<const float> logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - most);
  return most + std::log(sum);
}

// Of the softmax of `exact` to that of `found`.
double relative_entropy(std::span<const float> exact, std::span<const float> found) {
  const double exact_sum = log_sum(exact), found_sum = log_sum(found);
  double result = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    const double log_p = exact[i] - exact_sum;
    result += std::exp(log_p) * (log_p - (found[i] - found_sum));
  }
  return std::max(result, 0.0);
}

// The task's outputs of engines that differ in precision, against those in float32.
class TaskLoss {
 public:
  TaskLoss(const Model& model, std::span<const SampledText> texts, const CalibrateOptions& options)
      : model_(model), options_(options), masked_(task_of(model) == "fill-mask"), outputs_(task_outputs(model)) {
    if (texts.empty()) fail(ErrorCode::invalid_argument, "there is no text to measure on");
    if (outputs_.empty()) outputs_ = {model.info().output("last_hidden_state")};
    texts_ = encode_texts(std::span(&model, 1), texts, options.truncate);
    run(engine_options(options), [&](size_t index, std::span<const float> values) {
      exact_.resize(texts_.size());
      exact_[index].insert(exact_[index].end(), values.begin(), values.end());
    });
    if (!masked_) {
      for (const auto& values : exact_)
        for (const float value : values) scale_ += static_cast<double>(value) * value;
      return;
    }
    for (size_t text = 0; text < exact_.size(); ++text) {
      const size_t width = words_[text].empty() ? 0 : exact_[text].size() / words_[text].size();
      for (size_t word = 0; word < words_[text].size(); ++word) {
        const auto logits = std::span<const float>(exact_[text]).subspan(word * width, width);
        scale_ += log_sum(logits) - logits[static_cast<size_t>(words_[text][word])];
      }
    }
  }

  // Layers of `calibration` that the outputs are made by, a pooler that the task does not ask for not among them.
  std::vector<std::string> layers(const std::shared_ptr<const Calibration>& calibration) const {
    EngineOptions engine;
    engine.device = options_.device;
    engine.threads = options_.threads;
    engine.precision = "int8";
    engine.calibration = calibration;
    engine.outputs = outputs_;
    engine.disabled_passes = {"fuse_linear_layer_norm"};  // each layer has a step of its own
    const auto built = Engine::build(model_.network(), engine);
    std::vector<std::string> names;
    for (const StepInfo& step : built->steps())
      if (step.op == "int8_linear" && calibration->layers.contains(step.name)) names.push_back(step.name);
    return names;
  }

  double of(const TaskOptions& engine) {
    std::vector<double> sums(texts_.size());  // added in the order of the texts
    std::vector<size_t> read(texts_.size());
    run(engine, [&](size_t index, std::span<const float> values) {
      const auto exact = std::span<const float>(exact_[index]).subspan(read[index], values.size());
      read[index] += values.size();
      if (masked_) {
        const size_t width = words_[index].empty() ? 1 : values.size() / words_[index].size();
        for (size_t begin = 0; begin < values.size(); begin += width)
          sums[index] += relative_entropy(exact.subspan(begin, width), values.subspan(begin, width));
        return;
      }
      for (size_t i = 0; i < values.size(); ++i) sums[index] += std::pow(static_cast<double>(exact[i]) - values[i], 2);
    });
    double sum = 0;
    for (const double own : sums) sum += own;
    return scale_ > 0 ? sum / scale_ : sum;
  }

 private:
  template <typename Read>
  void run(const TaskOptions& engine, Read read) {
    const Side side{model_.info().source, model_, engine};
    SideRunner runner(side, model_.network(), outputs_, masked_ ? outputs_ : std::vector<std::string>{});
    std::vector<tasks::Sequence> sequences;
    std::vector<size_t> lines;
    words_.clear();
    for (const EncodedText& text : texts_) {
      tasks::Sequence sequence = runner.sequence(text.encoding);
      words_.emplace_back();
      if (masked_) words_.back() = mask_some_words(model_, text, options_.mask_every, options_.seed, sequence);
      lines.push_back(text.line);
      sequences.push_back(std::move(sequence));
    }
    runner.run(
        sequences, lines,
        [&](size_t index, const tasks::SequenceOutputs& outputs) {
          for (const std::string& output : outputs_) {
            const std::span<const float> values = outputs.values(output);
            runner.require_finite(values, lines[index]);
            read(index, values);
          }
        },
        options_.cancelled);
  }

  const Model& model_;
  const CalibrateOptions& options_;
  bool masked_;
  std::vector<std::string> outputs_;
  std::vector<EncodedText> texts_;
  std::vector<std::vector<int32_t>> words_;  // by text: what stood where words are masked
  std::vector<std::vector<float>> exact_;    // by text: all outputs
  double scale_ = 0;                         // what losses are shares of
};

}  // namespace

Sensitivity measure_sensitivity(const Model& model, const std::shared_ptr<const Calibration>& calibration,
                                std::span<const SampledText> texts, const CalibrateOptions& options) {
  TaskLoss loss(model, texts, options);
  Sensitivity result;
  const std::vector<std::string> layers = loss.layers(calibration);
  const size_t total = layers.size();
  size_t done = 0;
  const auto with = [&](const std::string& precision, std::vector<std::string> layer_precision) {
    if (options.cancelled && options.cancelled()) throw Error(ErrorCode::cancelled, "cancelled");
    TaskOptions engine = engine_options(options);
    engine.precision = precision;
    engine.calibration = calibration;
    engine.layer_precision = std::move(layer_precision);
    return loss.of(engine);
  };
  for (const std::string& layer : layers) {
    result.layers.push_back({layer, with("fp32", {layer + "=int8"})});
    if (options.progress) options.progress("layers alone", ++done, total);
  }
  std::stable_sort(result.layers.begin(), result.layers.end(),
                   [](const LayerLoss& a, const LayerLoss& b) { return a.loss > b.loss; });

  const auto keeping = [&](size_t count) {
    std::vector<std::string> kept;
    for (size_t i = 0; i < count; ++i) kept.push_back(result.layers[i].layer + "=fp32");
    return with("int8", std::move(kept));
  };
  result.all = result.loss = keeping(0);
  if (!(options.max_loss > 0) || result.all <= options.max_loss) return result;
  // More layers kept, less loss: the fewest by halves. All of them is float32 itself.
  size_t few = 0, enough = total;
  double least = 0;
  while (enough - few > 1) {
    const size_t middle = few + (enough - few) / 2;
    const double found = keeping(middle);
    if (found <= options.max_loss) {
      enough = middle;
      least = found;
    } else {
      few = middle;
    }
    if (options.progress) options.progress("layers kept", total - (enough - few), total);
  }
  for (size_t i = 0; i < enough; ++i) result.kept.push_back(result.layers[i].layer);
  result.loss = least;
  return result;
}

Sensitivity choose_precision(const Model& model, std::span<const SampledText> texts, const CalibrateOptions& options,
                             Calibration& calibration) {
  constexpr size_t kTexts = 64;
  const size_t count = std::min(texts.size(), kTexts);
  std::vector<SampledText> some;
  for (size_t i = 0; i < count; ++i) some.push_back(texts[i * texts.size() / count]);
  calibration.max_loss = options.max_loss;
  Sensitivity found = measure_sensitivity(model, std::make_shared<Calibration>(calibration), some, options);
  for (size_t i = 0; i < found.kept.size(); ++i) calibration.kept[found.layers[i].layer] = found.layers[i].loss;
  return found;
}

}  // namespace bertie::calibration
