#include "calibration/calibrate.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/float_element.h"
#include "base/log.h"
#include "base/parallel_parts.h"
#include "base/thread_pool.h"
#include "base/unfilled.h"
#include "calibration/layer_inputs.h"
#include "calibration/masked_words.h"
#include "calibration/model_task.h"
#include "calibration/other_neighbours.h"
#include "calibration/paired_run.h"
#include "calibration/sensitivity.h"
#include "models/weights_hash.h"
#include "quant/int8.h"
#include "tasks/stopwatch.h"

namespace bertie::calibration {
namespace {

constexpr size_t kKeptRows = 1024;                // of each tensor, for the choice of its weights' neighbours
constexpr size_t kSchemeRows = 96;                // of these, for the choice of its channels' scheme
constexpr size_t kPart = 1 << 16;                 // weights of one task
constexpr size_t kBatchBytes = size_t{64} << 20;  // of observed values in one batch

std::string hash_of(std::span<const SampledText> texts) {
  std::string all;
  for (const SampledText& text : texts) all += text.text + "\n";
  return models::hash_of(std::as_bytes(std::span(all)));
}

// The weights of all layers that read `input`, under one another, and where each layer's begin and end.
struct Weights {
  Unfilled<float> values;
  std::vector<size_t> bounds = {0};
};

void require_finite(const Network& network, const LayerInput& input, ThreadPool& pool) {
  for (size_t layer = 0; layer < input.weights.size(); ++layer) {
    const Tensor rows = network.value(input.weights[layer]).constant->row_major();
    const TensorView view = rows.view();
    std::atomic<bool> finite = true;
    parallel_parts(pool, static_cast<size_t>(view.shape.elements()), kPart, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i)
        if (!std::isfinite(float_element(view, i))) finite = false;
    });
    if (!finite) {
      fail(ErrorCode::invalid_argument, "layer '{}': its weight '{}' has a value that is not finite", input.layers[layer],
           network.value(input.weights[layer]).name);
    }
  }
}

Weights weights_of(const Network& network, const LayerInput& input, ThreadPool& pool) {
  Weights weights;
  for (const ValueId weight : input.weights)
    weights.bounds.push_back(weights.bounds.back() + static_cast<size_t>(network.value(weight).constant->shape.elements()));
  weights.values = Unfilled<float>(weights.bounds.back());
  for (size_t layer = 0; layer < input.weights.size(); ++layer) {
    const Tensor rows = network.value(input.weights[layer]).constant->row_major();
    const TensorView view = rows.view();
    float* const to = weights.values.data() + weights.bounds[layer];
    parallel_parts(pool, static_cast<size_t>(view.shape.elements()), kPart, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) to[i] = float_element(view, i);
    });
  }
  return weights;
}

class Calibrating {
 public:
  Calibrating(const Model& model, std::span<const SampledText> texts, const CalibrateOptions& options,
              const SchemeOptions& schemes)
      : model_(model),
        options_(options),
        schemes_(schemes),
        inputs_(with_layer_inputs(model.network())),
        side_{model.info().source, model, engine_options(options)},
        pool_(options.threads) {
    if (texts.empty()) fail(ErrorCode::invalid_argument, "there is no text to calibrate on");
    if (inputs_.inputs.empty()) fail(ErrorCode::unsupported, "{}: no layer of it could run in eight bits", side_.name);
    for (const LayerInput& input : inputs_.inputs) require_finite(inputs_.network, input, pool_);
    texts_ = encode_texts(std::span(&model, 1), texts, options.truncate);
    timed("engine", [&] { prepare_runner(); });
    prepare_sequences();
    run_.calibration.data_hash = hash_of(texts);
    run_.calibration.texts = texts.size();
  }

  CalibrationRun run() {
    const auto calibrator = options_.calibrator ? options_.calibrator : find_calibrator("minmax");
    timed("extremes", [&] { observe_channels(); });
    timed("channels and weights", [&] { choose_schemes(); });
    timed("histograms", [&] { count_magnitudes(); });
    Calibration& calibration = run_.calibration;
    calibration.method = calibrator->name();
    calibration.model_hash = model_.weights_hash();
    for (size_t i = 0; i < run_.tensors.size(); ++i) {
      ObservedTensor& tensor = run_.tensors[i];
      TensorCalibration entry;
      tensor.threshold = tensor.scheme.range > 0 ? calibrator->threshold(tensor.histogram) : 0;
      const double scale = tensor.scheme.range > 0 ? tensor.threshold / kInt8Largest : 1;
      if (!(scale > 0 && scale <= std::numeric_limits<float>::max())) {
        fail(ErrorCode::invalid_argument, "calibrator '{}': layer '{}': {} is no magnitude that could become 127",
             calibrator->name(), tensor.layers[0], tensor.threshold);
      }
      entry.scale = static_cast<float>(scale);
      if (entry.scale == 0) entry.scale = 1;  // too small for float32
      if (tensor.scheme.alpha) entry.migration = tensor.scheme.migration;
      if (tensor.scheme.kind != Shift::none) entry.shift = tensor.scheme.shift;
      entry.mean = statistics_[i].mean();
      entry.lowest = tensor.lowest;
      entry.highest = tensor.highest;
      for (size_t layer = 0; layer < tensor.layers.size(); ++layer) {
        TensorCalibration& own = calibration.layers[tensor.layers[layer]] = entry;
        own.other_neighbours = std::move(others_[i][layer]);
      }
    }
    return std::move(run_);
  }

 private:
  template <typename Work>
  static void timed(std::string_view stage, Work work) {
    double milliseconds = 0;
    {
      const tasks::Stopwatch stopwatch(milliseconds);
      work();
    }
    log(LogLevel::info, "calibrate: {}: {:.2f} s", stage, milliseconds * 1e-3);
  }

  void prepare_runner() {
    size_t floats = 0;  // of a token
    std::vector<std::string> outputs;
    for (const LayerInput& input : inputs_.inputs) {
      floats += static_cast<size_t>(input.width);
      outputs.push_back(input.output);
    }
    side_.options.token_budget = static_cast<int64_t>(std::max<size_t>(1, kBatchBytes / sizeof(float) / floats));
    runner_.emplace(side_, inputs_.network, std::move(outputs), std::vector<std::string>{});
  }

  // Masks words, and chooses the rows to keep.
  void prepare_sequences() {
    const std::optional<int32_t> unknown = model_.tokenizer()->unknown_id();
    const bool masks = task_of(model_) == "fill-mask";
    uint64_t words = 0, unknowns = 0;
    for (const EncodedText& text : texts_) {
      tasks::Sequence sequence = runner_->sequence(text.encoding);
      for (size_t at = 0; at < sequence.ids.size(); ++at) {
        if (text.encoding.special_tokens_mask[at] != 0) continue;
        ++words;
        unknowns += sequence.ids[at] == unknown ? 1 : 0;
      }
      if (masks) run_.masked += mask_some_words(model_, text, options_.mask_every, options_.seed, sequence).size();
      sequence.rows = {};
      run_.calibration.tokens += sequence.ids.size();
      lines_.push_back(text.line);
      sequences_.push_back(std::move(sequence));
    }
    run_.unknown = words > 0 ? static_cast<double>(unknowns) / static_cast<double>(words) : 0;
    // Distinct tokens of all texts, as text and place.
    std::mt19937_64 random(options_.seed);
    std::set<uint64_t> kept;
    const uint64_t tokens = run_.calibration.tokens;
    while (kept.size() < std::min<uint64_t>(tokens, kKeptRows)) kept.insert(random() % tokens);
    kept_.resize(sequences_.size());
    uint64_t begin = 0;
    for (size_t i = 0; i < sequences_.size(); begin += sequences_[i].ids.size(), ++i) {
      for (auto at = kept.lower_bound(begin); at != kept.end() && *at < begin + sequences_[i].ids.size(); ++at)
        kept_[i].push_back(static_cast<size_t>(*at - begin));
    }
  }

  // Hands each sequence's values of each tensor to `body(tensor, sequence, values)`: sequences in an order that the texts alone decide,
  // the tensors of one on all threads.
  template <typename Body>
  void observe(std::string_view stage, Body body) {
    size_t done = 0;
    const auto read = [&](size_t index, const tasks::SequenceOutputs& outputs) {
      pool_.parallel_for(static_cast<int64_t>(inputs_.inputs.size()), [&](int64_t tensor, int) {
        const auto place = static_cast<size_t>(tensor);
        body(place, index, outputs.values(inputs_.inputs[place].output));
      });
      if (options_.progress) options_.progress(stage, ++done, sequences_.size());
    };
    runner_->run(sequences_, lines_, read, options_.cancelled);
  }

  void observe_channels() {
    for (const LayerInput& input : inputs_.inputs) statistics_.emplace_back(static_cast<size_t>(input.width));
    rows_.resize(statistics_.size());
    std::vector<size_t> infinite(statistics_.size(), SIZE_MAX);  // the first sequence with a value that is not finite
    observe("extremes", [&](size_t tensor, size_t sequence, std::span<const float> values) {
      const size_t width = statistics_[tensor].channels();
      ChannelStatistics own(width);
      own.add(values);
      if (!own.finite()) infinite[tensor] = std::min(infinite[tensor], sequence);
      statistics_[tensor].merge(own);
      const size_t rows = values.size() / width;
      for (size_t row : kept_[sequence]) {
        row = rows == sequences_[sequence].ids.size() ? row : 0;  // one row a sequence: what pooled values have
        if (row < rows)
          rows_[tensor][{sequence, row}] = {values.begin() + static_cast<std::ptrdiff_t>(row * width),
                                            values.begin() + static_cast<std::ptrdiff_t>((row + 1) * width)};
      }
    });
    for (size_t tensor = 0; tensor < infinite.size(); ++tensor) {
      if (infinite[tensor] == SIZE_MAX) continue;
      fail(ErrorCode::invalid_text, "line {}: what layer '{}' reads has a value that is not finite", lines_[infinite[tensor]],
           inputs_.inputs[tensor].layers[0]);
    }
  }

  void choose_schemes() {
    for (size_t i = 0; i < statistics_.size(); ++i) {
      if (options_.cancelled && options_.cancelled()) throw Error(ErrorCode::cancelled, "cancelled");
      const ChannelStatistics& statistics = statistics_[i];
      std::vector<float> rows, some;
      const size_t stride = (rows_[i].size() + kSchemeRows - 1) / kSchemeRows;
      size_t at = 0;
      for (const auto& [place, row] : rows_[i]) {
        rows.insert(rows.end(), row.begin(), row.end());
        if (at++ % stride == 0) some.insert(some.end(), row.begin(), row.end());
      }
      rows_[i].clear();
      const auto lowest = statistics.lowest(), highest = statistics.highest();
      const Weights weights = weights_of(inputs_.network, inputs_.inputs[i], pool_);
      ChannelScheme scheme = choose_channels(statistics, some, weights.values.span(), schemes_.migration, pool_);
      others_.emplace_back(weights.bounds.size() - 1);
      if (schemes_.other_neighbours) {
        const InputMoments moments(rows, statistics.mean(), scheme.migration, pool_);
        for (size_t layer = 0; layer < others_[i].size(); ++layer) {
          const auto own =
              weights.values.span().subspan(weights.bounds[layer], weights.bounds[layer + 1] - weights.bounds[layer]);
          others_[i][layer] = choose_other_neighbours(moments, own, scheme.migration, pool_);
        }
      }
      const float range = scheme.range;
      ObservedTensor tensor{inputs_.inputs[i].layers,
                            *std::min_element(lowest.begin(), lowest.end()),
                            *std::max_element(highest.begin(), highest.end()),
                            0,
                            std::move(scheme),
                            Histogram(range),
                            0};
      for (size_t k = 0; k < lowest.size(); ++k) tensor.dead += lowest[k] == 0 && highest[k] == 0 ? 1 : 0;
      run_.tensors.push_back(std::move(tensor));
      if (options_.progress) options_.progress("channels and weights", i + 1, statistics_.size());
    }
  }

  void count_magnitudes() {
    observe("histograms", [&](size_t place, size_t, std::span<const float> values) {
      ObservedTensor& tensor = run_.tensors[place];
      const size_t width = tensor.scheme.shift.size();
      std::vector<float> z(width);
      for (size_t row = 0; row < values.size(); row += width) {
        for (size_t k = 0; k < width; ++k) z[k] = (values[row + k] - tensor.scheme.shift[k]) / tensor.scheme.migration[k];
        tensor.histogram.add(z);
      }
    });
  }

  const Model& model_;
  const CalibrateOptions& options_;
  const SchemeOptions& schemes_;
  LayerInputs inputs_;
  Side side_;
  ThreadPool pool_;
  std::vector<EncodedText> texts_;
  std::optional<SideRunner> runner_;
  std::vector<tasks::Sequence> sequences_;                                     // one a text
  std::vector<size_t> lines_;                                                  // theirs
  std::vector<std::vector<size_t>> kept_;                                      // their tokens whose rows are kept
  std::vector<ChannelStatistics> statistics_;                                  // by tensor
  std::vector<std::map<std::pair<size_t, size_t>, std::vector<float>>> rows_;  // by tensor: sequence and row
  std::vector<std::vector<std::vector<std::vector<int32_t>>>> others_;         // by tensor and layer: other neighbours
  CalibrationRun run_;
};

}  // namespace

TaskOptions engine_options(const CalibrateOptions& options) {
  TaskOptions engine;
  engine.device = options.device;
  engine.threads = options.threads;
  engine.truncate = options.truncate;
  return engine;
}

CalibrationRun calibrate(const Model& model, std::span<const SampledText> texts, const CalibrateOptions& options,
                         const SchemeOptions& schemes) {
  return Calibrating(model, texts, options, schemes).run();
}

}  // namespace bertie::calibration

namespace bertie {

Calibration calibrate(const Model& model, std::span<const std::string> texts, const CalibrateOptions& options) {
  calibration::TextSample sample(std::max<size_t>(texts.size(), 1), options.seed);
  for (size_t i = 0; i < texts.size(); ++i) sample.offer(i + 1, texts[i]);
  const std::vector<calibration::SampledText> kept = sample.take();
  Calibration result = calibration::calibrate(model, kept, options).calibration;
  if (options.max_loss > 0) calibration::choose_precision(model, kept, options, result);
  return result;
}

}  // namespace bertie
