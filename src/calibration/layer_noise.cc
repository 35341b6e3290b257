#include "calibration/layer_noise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "calibration/model_task.h"

namespace bertie::calibration {
namespace {

int64_t width_of(const LayerOutputs& layers, size_t layer) {
  for (const Network::Output& output : layers.network.outputs()) {
    if (output.name == layers.outputs[layer]) return layers.network.value(output.value).shape.back().size;
  }
  return 0;
}

bool selects_rows(const Model& model) { return task_of(model) == "fill-mask"; }

// The task's outputs stay, so that the names of --layer-precision are all there; of a vocabulary's logits one row is computed.
std::unique_ptr<SideRunner> make_runner(const Side& side, const LayerOutputs& layers) {
  std::vector<std::string> outputs = task_outputs(side.model);
  const std::vector<std::string> select_rows = selects_rows(side.model) ? outputs : std::vector<std::string>();
  outputs.insert(outputs.end(), layers.outputs.begin(), layers.outputs.end());
  return std::make_unique<SideRunner>(side, layers.network, std::move(outputs), select_rows);
}

}  // namespace

double cosine(std::span<const float> a, std::span<const float> b) {
  double product = 0, square_a = 0, square_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * b[i];
    square_a += static_cast<double>(a[i]) * a[i];
    square_b += static_cast<double>(b[i]) * b[i];
  }
  return product / std::sqrt(square_a * square_b);
}

void SignalToNoise::add(std::span<const float> signal, std::span<const float> noisy) {
  for (size_t i = 0; i < signal.size(); ++i) {
    const double difference = static_cast<double>(signal[i]) - noisy[i];
    signal_ += static_cast<double>(signal[i]) * signal[i];
    noise_ += difference * difference;
  }
}

double SignalToNoise::decibels() const {
  return noise_ == 0 ? std::numeric_limits<double>::infinity() : 10 * std::log10(signal_ / noise_);
}

LayerNoiseRun::LayerNoiseRun(const Side& a, const Side& b)
    : a_(a), b_(b), layers_a_(with_layer_outputs(a.model.network())), layers_b_(with_layer_outputs(b.model.network())) {
  const size_t count = layers_a_.outputs.size();
  if (count == 0 || layers_b_.outputs.empty()) {
    refusal_ = fmt::format("no encoder layers are recognised in {}", count == 0 ? a.name : b.name);
    return;
  }
  if (count != layers_b_.outputs.size()) {
    refusal_ = fmt::format("{} has {} layers, {} has {}", a.name, count, b.name, layers_b_.outputs.size());
    return;
  }
  for (size_t layer = 0; layer < count; ++layer) {
    const int64_t width = width_of(layers_a_, layer), other = width_of(layers_b_, layer);
    if (width != other) {
      refusal_ = fmt::format("layer {} of {} has width {}, of {} {}", layer, a.name, width, b.name, other);
      return;
    }
    floats_per_token_ += static_cast<size_t>(width);
  }
  runner_a_ = make_runner(a_, layers_a_);
  runner_b_ = make_runner(b_, layers_b_);
  sums_.resize(count);
}

void LayerNoiseRun::run(std::span<const EncodedText> texts, const Cancelled& cancelled) {
  std::vector<size_t> lines;
  for (const EncodedText& text : texts) lines.push_back(text.line);
  const auto sequences = [&](const Side& side, const SideRunner& runner) {
    std::vector<tasks::Sequence> result;
    for (const EncodedText& text : texts) {
      result.push_back(runner.sequence(text.encoding));
      if (selects_rows(side.model)) result.back().rows = {0};
    }
    return result;
  };
  std::vector<std::vector<std::vector<float>>> signal(texts.size());  // by text and layer
  runner_a_->run(
      sequences(a_, *runner_a_), lines,
      [&](size_t index, const tasks::SequenceOutputs& outputs) {
        for (const std::string& layer : layers_a_.outputs) {
          const auto values = outputs.values(layer);
          signal[index].emplace_back(values.begin(), values.end());
        }
      },
      cancelled);
  runner_b_->run(
      sequences(b_, *runner_b_), lines,
      [&](size_t index, const tasks::SequenceOutputs& outputs) {
        for (size_t layer = 0; layer < sums_.size(); ++layer)
          sums_[layer].add(signal[index][layer], outputs.values(layers_b_.outputs[layer]));
      },
      cancelled);
}

std::vector<LayerNoise> LayerNoiseRun::result() const {
  std::vector<LayerNoise> result;
  for (size_t layer = 0; layer < sums_.size(); ++layer) result.push_back({layers_a_.nodes[layer], sums_[layer].decibels()});
  return result;
}

}  // namespace bertie::calibration
